"""Picture towers of CLIP and Chinese-CLIP folders against transformers, on the same random weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmsearch.encoders.image.clip_tower import ClipImageSettings
from mmsearch.encoders.image.sources import resample_positions
from mmsearch.errors import ConfigError
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()
import transformers  # noqa: E402  (the guard comes first)

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "image_size": 32,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = {"clip": "CLIP", "chinese_clip": "ChineseCLIP"}


def pictures(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def transformers_model(kind):
    torch.manual_seed(1)
    config = getattr(transformers, f"{KINDS[kind]}Config")(vision_config=VISION, text_config=TEXT, projection_dim=24)
    return getattr(transformers, f"{KINDS[kind]}Model")(config).eval()


def clip_settings(folder, **fields):
    return ClipImageSettings(folder=str(folder), **({"image_size": 32} | fields)).resolve()


@pytest.fixture
def clip_folder(tmp_path):
    transformers_model("clip").save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_clip_pools_and_projects_as_transformers(kind, tmp_path):
    made = transformers_model(kind)
    made.save_pretrained(tmp_path)
    settings = clip_settings(tmp_path)
    assert settings.resolve() == settings
    assert "text_config" not in settings.config
    tower = settings.build().eval()
    report = tower.load(str(tmp_path))
    assert (report.missing, report.unexpected) == ((), ())
    images = pictures()
    expected = made.get_image_features(pixel_values=tower.normalised(images)).pooler_output
    torch.testing.assert_close(tower.pool(tower(images)) @ tower.projection().T, expected, rtol=1e-4, atol=1e-5)


def test_clip_is_rebuilt_from_its_settings_alone(clip_folder):
    dumped = json.loads(clip_settings(clip_folder).model_dump_json())
    tower = ClipImageSettings(**(dumped | {"folder": "gone"})).build()
    assert tower.load(str(clip_folder)).missing == ()


def test_clip_resamples_positions_to_another_size(clip_folder):
    tower = clip_settings(clip_folder, image_size=48).build().eval()
    assert tower.load(str(clip_folder)).missing == ()
    table = load_file(clip_folder / "model.safetensors")["vision_model.embeddings.position_embedding.weight"]
    new = tower.vision_model.embeddings.position_embedding.weight.detach()
    torch.testing.assert_close(new, resample_positions(table, 6, "table"))
    assert tower(pictures(side=48)).shape == (2, 37, 32)


def test_clip_weights_of_another_width_are_named(clip_folder):
    settings = clip_settings(clip_folder)
    config = settings.config | {"vision_config": VISION | {"intermediate_size": 64}, "projection_dim": 16}
    with pytest.raises(ConfigError) as raised:
        settings.model_copy(update={"config": config}).build().load(str(clip_folder))
    assert "layers.1.mlp.fc1.weight: the file has [48, 32], the tower [64, 32]" in str(raised.value)
    assert "visual_projection: the file has [24, 32], the tower [16, 32]" in str(raised.value)


def test_old_clip_folders_are_read(clip_folder):
    """Older versions of transformers stored a counter with the weights, and every default in config.json."""
    state = load_file(clip_folder / "model.safetensors")
    counter = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    save_file(state | counter, clip_folder / "model.safetensors")
    old = {"_name_or_path": "", "architectures": None, "bad_words_ids": None, "torch_dtype": "float16", "top_k": 50}
    old |= {"model_type": "clip_vision_model", "transformers_version": "4.18.0", "id2label": {"0": "LABEL_0"}}
    tree = {"model_type": "clip", "projection_dim": 24, "vision_config": VISION | old, "vision_config_dict": None}
    (clip_folder / "config.json").write_text(json.dumps(tree))
    tower = clip_settings(clip_folder).build()
    assert tower.vision_model.post_layernorm.weight.dtype == torch.float32
    report = tower.load(str(clip_folder))
    assert (report.missing, report.unexpected) == ((), ())


def test_clip_folders_that_are_none_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"config.json: no such file; give the folder of a CLIP"):
        clip_settings(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="model_type is 'bert'; known here: clip, chinese_clip"):
        clip_settings(tmp_path)
    with pytest.raises(ConfigError, match=r"`config` is empty; resolve\(\) the settings first"):
        ClipImageSettings(folder=str(tmp_path)).build()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_folder_names_no_code_to_fetch(key, clip_folder):
    tree = json.loads((clip_folder / "config.json").read_text())
    tree["vision_config"][key] = "somebody/kernel"
    (clip_folder / "config.json").write_text(json.dumps(tree))
    tower = clip_settings(clip_folder).build()
    assert tower.vision_model.config._attn_implementation == "sdpa"
    assert tower(pictures()).shape == (2, 17, 32)


@pytest.mark.parametrize("vision", [{"hidden_size": "wide"}, {"hidden_act": "nope"}, [1]])
def test_a_config_that_makes_no_sense_is_told(vision):
    changed = VISION | vision if isinstance(vision, dict) else vision
    with pytest.raises(ConfigError, match=r"image tower of type clip with .*transformers says: "):
        ClipImageSettings(config={"model_type": "clip", "vision_config": changed}).build()
