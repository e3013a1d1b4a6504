"""What every picture tower does, whatever it is made of."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from mmsearch.encoders.image.clip_tower import ClipImageSettings
from mmsearch.encoders.image.open_clip_tower import OpenClipImageSettings
from mmsearch.encoders.image.sources import regions, resample_positions
from mmsearch.encoders.image.timm_tower import TimmImageSettings
from mmsearch.errors import ConfigError

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


def pictures(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def timm_settings(name="vit_tiny_patch16_224", **fields):
    return TimmImageSettings(name=name, **({"image_size": 32, "args": VIT} | fields))


def open_clip_settings(**fields):
    return OpenClipImageSettings(**({"image_size": 32, "embed_dim": 24, "vision": OPEN_CLIP} | fields))


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
