"""Picture towers of open_clip against open_clip, on the same random weights."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from mmsearch.encoders.image.open_clip_tower import OpenClipImageSettings
from mmsearch.errors import ConfigError
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()
import open_clip  # noqa: E402  (the guard comes first)

OPEN_CLIP = {"width": 32, "head_width": 16, "layers": 2, "patch_size": 8}


def pictures(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def open_clip_settings(**fields):
    return OpenClipImageSettings(**({"image_size": 32, "embed_dim": 24, "vision": OPEN_CLIP} | fields))


def open_clip_model():
    torch.manual_seed(1)
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    return open_clip.model.CLIP(24, OPEN_CLIP | {"image_size": 32}, text).eval()


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
    with pytest.raises(ConfigError, match=r"'local-dir:.*open_clip has no such model"):
        open_clip_settings(name=f"local-dir:{tmp_path}").build()
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
