"""Picture towers of timm against timm, on the same random weights."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from mmsearch.encoders.image.sources import resample_positions
from mmsearch.encoders.image.timm_tower import TimmImageSettings, TimmImageTower
from mmsearch.errors import ConfigError
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()
import timm  # noqa: E402  (the guard comes first)

VIT = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


def pictures(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def timm_settings(name="vit_tiny_patch16_224", **fields):
    return TimmImageSettings(name=name, **({"image_size": 32, "args": VIT} | fields))


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
    assert "timm says that 'vit_tiny_patch16_224' was trained with mean: [0.5, 0.5, 0.5]" in caplog.text
    caplog.clear()
    half = (0.5, 0.5, 0.5)
    timm_settings(mean=half, std=half).build().load(str(tmp_path / "vit.safetensors"))
    assert caplog.text == ""
    stated = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"mean": [0.4, 0.5, 0.5], "std": half}}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    timm_settings(mean=half, std=half).build().load(str(tmp_path))
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}/config.json says that 'vit_tiny_patch16_224' was trained with mean: [0.4, 0.5, 0.5]"
    ]


def test_timm_names_and_arguments_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match=r"'resnet5O': timm has no such model; did you mean 'resnet50'\?"):
        timm_settings("resnet5O", args={}).build()
    with pytest.raises(ConfigError, match="timm has no such model"):
        timm_settings("hf-hub:timm/resnet50", args={}).build()
    with pytest.raises(ConfigError, match=r"'test_resnet' with .*timm says: .*'dephts'"):
        timm_settings("test_resnet", args={"dephts": 3}).build()


@pytest.mark.parametrize("args", [{"pretrained": True}, {"checkpoint_path": "w.pth"}, {"cache_dir": "hub"}])
def test_weights_come_by_their_own_setting_alone(args):
    with pytest.raises(ConfigError, match=f"{next(iter(args))} is no argument here; weights come by `weights`"):
        timm_settings(args=args).build()


def test_a_net_of_several_maps_is_refused_by_name():
    tower = TimmImageTower("coat_lite_tiny", image_size=64).eval()
    tower.vit.forward = lambda images: [images, images]
    with pytest.raises(ConfigError, match="'coat_lite_tiny' gives list, not one feature map"):
        tower(pictures(1, 64))


def test_timm_reads_the_trunk_of_an_open_clip_file(tmp_path):
    made = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **VIT)
    state = {f"visual.trunk.{name}": tensor for name, tensor in made.state_dict().items()}
    save_file(state | {"logit_scale": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    tower = timm_settings().build()
    assert tower.load(str(tmp_path)).loaded == len(state)
    torch.testing.assert_close(tower.vit.cls_token, made.cls_token)


def test_tokens_before_the_square_of_patches_are_no_region():
    """Some nets put a class token first and do not say so."""
    tower = timm_settings("test_resnet", args={}).build()
    tokens = torch.randn(2, 17, tower.width)
    torch.testing.assert_close(tower.grid(tokens, 2), tower.grid(tokens[:, 1:], 2))
