"""Picture towers against the libraries they come from, on the same random weights."""

import copy
import json
import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmsearch.encoders.image.clip_tower import ClipImageSettings
from mmsearch.encoders.image.open_clip_tower import OpenClipImageSettings
from mmsearch.encoders.image.sources import regions, resample_positions
from mmsearch.encoders.image.timm_tower import TimmImageSettings, TimmImageTower
from mmsearch.encoders.torchvision_guard import guard_torchvision
from mmsearch.errors import ConfigError

guard_torchvision()
import open_clip  # noqa: E402  (the guard comes first)
import timm  # noqa: E402
import transformers  # noqa: E402

VIT = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
OPEN_CLIP = {"width": 32, "head_width": 16, "layers": 2, "patch_size": 8}
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


def timm_settings(name="vit_tiny_patch16_224", **fields):
    return TimmImageSettings(name=name, **({"image_size": 32, "args": VIT} | fields))


def open_clip_settings(**fields):
    return OpenClipImageSettings(**({"image_size": 32, "embed_dim": 24, "vision": OPEN_CLIP} | fields))


def open_clip_model():
    torch.manual_seed(1)
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    return open_clip.model.CLIP(24, OPEN_CLIP | {"image_size": 32}, text).eval()


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


@pytest.fixture(params=["test_resnet", "test_convnext", "mobilenetv3_small_050", "vit", "open_clip", "clip"])
def tower(request, tmp_path):
    """One of each kind, of random weights."""
    torch.manual_seed(0)
    if request.param == "vit":
        return timm_settings().build()
    if request.param == "open_clip":
        return open_clip_settings().build()
    if request.param == "clip":
        config = {"model_type": "clip", "vision_config": VISION, "projection_dim": 24}
        return ClipImageSettings(config=config, image_size=32).build()
    return timm_settings(request.param, args={}).build()


def test_every_tower_gives_tokens_a_vector_and_regions(tower):
    tower.eval()
    tokens = tower(pictures())
    assert tokens.ndim == 3
    assert (len(tokens), tokens.shape[2], tower.image_size) == (2, tower.width, 32)
    assert tower.pool(tokens).shape == (2, tower.width)
    assert tower.grid(tokens, 2).shape == (2, 4, tower.width)


def test_every_tower_takes_bytes_and_floats_and_batches_of_one(tower):
    tower.eval()
    images = pictures()
    whole = tower.pool(tower(images))
    torch.testing.assert_close(tower.pool(tower(images.float())), whole)
    torch.testing.assert_close(tower.pool(tower(images[:1])), whole[:1], rtol=1e-4, atol=1e-5)


def test_every_parameter_of_a_tower_learns(tower):
    tower.train()
    tokens = tower(pictures(4))
    (tower.pool(tokens).square().sum() + tower.grid(tokens, 2).sin().sum()).backward()
    assert [name for name, p in tower.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


def test_checkpointing_changes_no_gradient(tower):
    tower.train()
    for module in tower.modules():  # running statistics would differ from pass to pass
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    images = pictures()
    found = []
    for on in (False, True, False):
        tower.set_checkpointing(on)
        tower.zero_grad()
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):  # noqa: B023
            loss = tower.pool(tower(images)).square().sum()
        loss.backward()
        found.append((sum(kept), [p.grad.clone() for p in tower.parameters() if p.grad is not None]))
    assert found[1][0] < found[0][0] == found[2][0]
    for without, with_ in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(with_, without, rtol=1e-4, atol=1e-5)


def test_a_copy_of_a_tower_is_independent(tower):
    tower.eval()
    images, twin = pictures(), copy.deepcopy(tower)
    before = tower(images)
    torch.testing.assert_close(twin(images), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    torch.testing.assert_close(tower(images), before)
    assert not torch.allclose(twin(images), before)


def test_a_tower_continues_from_a_model_trained_here(tower, tmp_path):
    held = {f"document.image.{name}": tensor.contiguous() for name, tensor in tower.state_dict().items()}
    save_file(held | {"log_scale.cover": torch.zeros(1)}, tmp_path / "model.safetensors")
    other = copy.deepcopy(tower).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    report = other.load(str(tmp_path))
    assert (report.loaded, report.missing, report.unexpected) == (len(held), (), ())
    images = pictures()
    torch.testing.assert_close(other(images), tower.eval()(images))


@pytest.mark.parametrize("name", ["test_vit", "test_vit4", "test_convnext", "test_resnet", "test_efficientnet"])
def test_timm_towers_read_published_weights_and_pool_as_timm(name, tmp_path, caplog):
    torch.manual_seed(1)
    made = timm.create_model(name, num_classes=5).eval()
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    tower = timm_settings(name, image_size=made.pretrained_cfg["input_size"][-1], args={}).build().eval()
    with caplog.at_level(logging.INFO, "mmsearch"):
        report = tower.load(str(tmp_path))
    assert (report.missing, report.unexpected) == ((), ())
    assert "0 missing, 0 unexpected" in caplog.text
    images = pictures(side=tower.image_size)
    tokens = tower(images)
    features = made.forward_features(tower.normalised(images))
    if tower.is_transformer:
        torch.testing.assert_close(tower.pool(tokens), made.forward_head(features, pre_logits=True))
    else:
        assert tokens.shape[1] == features.shape[2] * features.shape[3]
        torch.testing.assert_close(tokens[:, 1], features[:, :, 0, 1])
        mean = torch.nn.functional.layer_norm(features.mean((2, 3)), [tower.width])
        torch.testing.assert_close(tower.pool(tokens), mean)
        torch.testing.assert_close(tower.grid(tokens, 1)[:, 0], mean)


def test_channels_last_maps_are_read_row_by_row():
    args = {"patch_size": 4, "window_size": 2, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
    tower = timm_settings("swin_tiny_patch4_window7_224", image_size=64, args=args).build().eval()
    images = pictures(side=64)
    features = tower.vit.forward_features(tower.normalised(images))
    assert features.shape == (2, 2, 2, 64)
    torch.testing.assert_close(tower(images)[:, 1], features[:, 0, 1])


def test_timm_resamples_positions_to_another_size(tmp_path):
    made = timm.create_model("vit_tiny_patch16_224", img_size=48, **VIT)
    save_file(made.state_dict(), tmp_path / "vit.safetensors")
    tower = timm_settings().build()
    report = tower.load(str(tmp_path / "vit.safetensors"))
    assert report.missing == ()
    own = resample_positions(made.pos_embed.detach()[0], 4, "pos_embed")
    torch.testing.assert_close(tower.vit.pos_embed.detach()[0], own)
    torch.testing.assert_close(tower.vit.blocks[1].attn.qkv.weight, made.blocks[1].attn.qkv.weight)


def test_a_timm_tower_of_another_width_names_every_tensor(tmp_path):
    made = timm.create_model("vit_tiny_patch16_224", img_size=32, **(VIT | {"embed_dim": 32}))
    save_file(made.state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(ConfigError) as raised:
        timm_settings().build().load(str(tmp_path / "vit.safetensors"))
    assert "cls_token: the file has [1, 1, 32], the tower [1, 1, 16]" in str(raised.value)
    assert "blocks.1.mlp.fc2.weight: the file has [32, 128], the tower [16, 64]" in str(raised.value)


def test_weights_of_another_depth_are_listed(tmp_path):
    made = timm.create_model("vit_tiny_patch16_224", img_size=32, **(VIT | {"depth": 3}))
    save_file(made.state_dict(), tmp_path / "vit.safetensors")
    report = timm_settings().build().load(str(tmp_path / "vit.safetensors"))
    assert len(report.unexpected) == 12
    assert all(name.startswith("blocks.2.") for name in report.unexpected)


def test_pixels_that_the_weights_were_not_trained_on_are_warned_of(tmp_path, caplog):
    made = timm.create_model("vit_tiny_patch16_224", img_size=32, **VIT)
    save_file(made.state_dict(), tmp_path / "vit.safetensors")
    timm_settings().build().load(str(tmp_path / "vit.safetensors"))
    assert "timm trained 'vit_tiny_patch16_224' with mean [0.5, 0.5, 0.5]; set it" in caplog.text
    caplog.clear()
    half = (0.5, 0.5, 0.5)
    timm_settings(mean=half, std=half).build().load(str(tmp_path / "vit.safetensors"))
    assert caplog.text == ""


def test_timm_names_and_arguments_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match=r"'resnet5O': timm has no such model; did you mean 'resnet50'\?"):
        timm_settings("resnet5O", args={}).build()
    with pytest.raises(ConfigError, match="timm has no such model"):
        timm_settings("hf-hub:timm/resnet50", args={}).build()
    with pytest.raises(ConfigError, match=r"'test_resnet' with .*timm says: .*'dephts'"):
        timm_settings("test_resnet", args={"dephts": 3}).build()


def test_a_net_of_several_maps_is_refused_by_name():
    tower = TimmImageTower("coat_lite_tiny", image_size=64).eval()
    tower.vit.forward = lambda images: [images, images]
    with pytest.raises(ConfigError, match="'coat_lite_tiny' gives list, not one feature map"):
        tower(pictures(1, 64))


def test_open_clip_pools_and_projects_as_open_clip(tmp_path):
    made = open_clip_model()
    save_file(made.state_dict(), tmp_path / "open_clip_model.safetensors")
    save_file({"vision_model.other": torch.zeros(1)}, tmp_path / "model.safetensors")
    tower = open_clip_settings().build().eval()
    report = tower.load(str(tmp_path))
    assert (report.missing, report.unexpected) == ((), ())
    images = pictures()
    tokens = tower(images)
    assert tokens.shape == (2, 17, 32)
    torch.testing.assert_close(
        tower.pool(tokens) @ tower.projection().T, made.encode_image(tower.normalised(images)), rtol=1e-4, atol=1e-5
    )


def test_open_clip_resamples_positions_as_open_clip(tmp_path):
    made = open_clip_model()
    save_file(made.state_dict(), tmp_path / "open_clip_model.safetensors")
    tower = open_clip_settings(image_size=48).build()
    tower.load(str(tmp_path))
    state = made.visual.state_dict(prefix="visual.")
    open_clip.model.resize_pos_embed(state, SimpleNamespace(visual=tower.visual))
    torch.testing.assert_close(tower.visual.positional_embedding.data, state["visual.positional_embedding"])


def test_open_clip_regions_of_a_mean_pooled_tower_follow_the_vector():
    tower = open_clip_settings(vision=OPEN_CLIP | {"pool_type": "avg"}).build().eval()
    tokens = tower(pictures())
    torch.testing.assert_close(tower.pool(tokens), tokens[:, 1:].mean(1))


def test_open_clip_models_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"open_clip has no such model; did you mean 'ViT-B-32'\?"):
        open_clip_settings(name="ViT-B32").build()
    with pytest.raises(ConfigError, match="take it with type: timm"):
        open_clip_settings(name="ViT-B-16-SigLIP").build()
    with pytest.raises(ConfigError, match="not a ViT"):
        OpenClipImageSettings(name="RN50").build()
    with pytest.raises(ConfigError, match=r"open_clip says: .*layerz"):
        open_clip_settings(vision={"layerz": 3}).build()
    save_file(open_clip_model().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"visual.conv1.weight: the file has \[32, 3, 8, 8\], the tower"):
        open_clip_settings(vision=OPEN_CLIP | {"patch_size": 4}).build().load(str(tmp_path))


def test_open_clip_text_towers_are_neither_built_nor_fetched():
    tower = open_clip_settings(name="xlm-roberta-base-ViT-B-32").build()
    assert not [name for name, _ in tower.named_parameters() if "text" in name]


def test_timm_reads_the_trunk_of_an_open_clip_file(tmp_path):
    made = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **VIT)
    state = {f"visual.trunk.{name}": tensor for name, tensor in made.state_dict().items()}
    save_file(state | {"logit_scale": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    tower = timm_settings().build()
    assert tower.load(str(tmp_path)).loaded == len(state)
    torch.testing.assert_close(tower.vit.cls_token, made.cls_token)


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


def test_positions_keep_the_class_token_and_refuse_what_is_no_square():
    table = torch.randn(10, 4)
    assert resample_positions(table, 3, "t") is table
    larger = resample_positions(table, 5, "t")
    assert larger.shape == (26, 4)
    torch.testing.assert_close(larger[0], table[0])
    with pytest.raises(ConfigError, match="t: 12 positions are not a class token and a square"):
        resample_positions(torch.randn(12, 4), 3, "t")


def test_regions_average_their_patches():
    patches = torch.randn(2, 16, 3)
    square = patches.view(2, 4, 4, 3)
    torch.testing.assert_close(regions(patches, 2)[:, 1], square[:, :2, 2:].reshape(2, 4, 3).mean(1))
    torch.testing.assert_close(regions(patches, 4), patches)
