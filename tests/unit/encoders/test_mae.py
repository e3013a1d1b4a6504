"""Masked autoencoding at tiny sizes: what the tower sees, what the loss is, what is rebuilt."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmsearch.encoders.image.timm_tower import TimmImageTower
from mmsearch.encoders.mae import MaeSettings
from mmsearch.encoders.patches import KeepPatches, draw_kept
from mmsearch.errors import ConfigError

SMALL = MaeSettings(decoder_depth=1, decoder_width=16, decoder_heads=2)
PREFIXES = [
    pytest.param({}, 1, id="class"),
    pytest.param({"reg_tokens": 2}, 3, id="registers"),
    pytest.param({"class_token": False, "global_pool": "avg"}, 0, id="none"),
]


def tower(side=32, patch=8, depth=2, **args):
    torch.manual_seed(0)
    sizes = {"patch_size": patch, "embed_dim": 16, "depth": depth, "num_heads": 2}
    return TimmImageTower("vit_tiny_patch16_224", image_size=side, **sizes, **args)


def pictures(count=3, side=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def naive_loss(mae, images, kept, *, normalise):
    """The loss by loops over pictures, patches, rows, columns and channels."""
    numbers = mae.decoder(mae.encode(images, kept), kept)
    size, mean, std = mae.patch_size[0], mae.tower.mean.flatten(), mae.tower.std.flatten()
    losses = []
    for b, image in enumerate(images):
        for n in set(range(mae.num_patches)) - set(kept[b].tolist()):
            top, left = n // mae.grid[1] * size, n % mae.grid[1] * size
            cut = image[:, top : top + size, left : left + size] / 255.0
            target = torch.stack(
                [(cut[c, y, x] - mean[c]) / std[c] for y in range(size) for x in range(size) for c in range(3)]
            )
            if normalise:
                centred = target - target.sum() / len(target)
                target = centred / ((centred**2).sum() / (len(target) - 1) + 1e-6) ** 0.5
            losses.append(((numbers[b, n] - target) ** 2).sum() / len(target))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("args", "prefix"), PREFIXES)
def test_the_loss_equals_loops_over_hidden_patches(args, prefix, normalise):
    mae = SMALL.model_copy(update={"normalise_pixels": normalise}).build(tower(**args))
    images = pictures()
    torch.manual_seed(7)
    loss = mae(images)
    torch.manual_seed(7)
    kept = draw_kept(3, 16, 4, torch.device("cpu"))
    torch.testing.assert_close(loss, naive_loss(mae, images, kept, normalise=normalise))
    torch.manual_seed(7)
    torch.testing.assert_close(mae(images.float()), loss)


@pytest.mark.parametrize(("args", "prefix"), PREFIXES)
def test_the_tower_sees_the_kept_patches_alone(args, prefix):
    mae = SMALL.build(tower(**args)).eval()
    seen = []
    mae.tower.vit.blocks[0].register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    mae(pictures())
    assert seen == [(3, prefix + 4, 16)]
    images, kept = pictures(), torch.tensor([[0, 3, 9, 15], [1, 2, 4, 8], [5, 6, 7, 10]])
    latent = mae.encode(images, kept)
    assert latent.shape == (3, prefix + 4, 16)
    changed = pictures(seed=2)
    for b, row in enumerate(kept.tolist()):
        for n in row:
            top, left = n // 4 * 8, n % 4 * 8
            here = (b, slice(None), slice(top, top + 8), slice(left, left + 8))
            changed[here] = images[here]
    assert not torch.equal(changed, images)
    torch.testing.assert_close(mae.encode(changed, kept), latent, rtol=0, atol=0)
    changed[0, :, 0, 0] = 255 - changed[0, :, 0, 0]  # a pixel of a kept patch
    assert not torch.allclose(mae.encode(changed, kept), latent)


def test_hidden_patches_cost_the_tower_nothing():
    mae = SMALL.build(tower(side=128, depth=4))
    images, kept = pictures(2, 128), draw_kept(2, 256, 64, torch.device("cpu"))
    counted = []
    for run in (lambda: mae.tower(images), lambda: mae.encode(images, kept)):
        with FlopCounterMode(display=False) as counter:
            run()
        counted.append(counter.get_total_flops())
    cut = 2 * 2 * 256 * (3 * 8 * 8) * 16  # every patch is embedded before it can be dropped; multiply and add are two
    assert counted[1] - cut <= (1 + 64) / (1 + 256) * (counted[0] - cut)


def test_a_tower_after_mae_is_the_tower_as_before():
    ours, images = tower(), pictures()
    keys, before = list(ours.state_dict()), ours(images)
    mae = SMALL.build(ours)
    mae(images)
    assert list(ours.state_dict()) == keys
    torch.testing.assert_close(ours(images), before, rtol=0, atol=0)
    tower(depth=2).load_state_dict(mae.tower.state_dict())
    again = SMALL.build(ours)  # a second stage wraps nothing twice
    assert isinstance(ours.vit.patch_drop, KeepPatches)
    assert isinstance(ours.vit.patch_drop.otherwise, nn.Identity)
    assert torch.isfinite(again(images))


def test_patch_dropout_of_the_towers_own_still_works_outside():
    ours = tower(patch_drop_rate=0.5)
    mae = SMALL.build(ours).train()
    assert ours(pictures()).shape == (3, 1 + 8, 16)
    assert mae.encode(pictures(), torch.tensor([[0, 1, 2]] * 3)).shape == (3, 1 + 3, 16)


def test_parameters_are_read_only_while_their_own_module_is_called():
    """As under ZeRO-3, which gathers the parameters of a module before its call and lets them go afterwards."""
    mae, images = SMALL.build(tower()).eval(), pictures()
    whole = {}
    torch.manual_seed(2)
    loss = mae(images).detach()
    shown = mae.rebuild(images)

    def gather(module, _):
        for parameter in module.parameters(recurse=False):
            parameter.data = whole[parameter]

    def let_go(module, *_):
        for parameter in module.parameters(recurse=False):
            whole[parameter] = parameter.data
            parameter.data = torch.empty(0)

    for module in mae.modules():
        let_go(module)
        module.register_forward_pre_hook(gather)
        module.register_forward_hook(let_go)
    torch.manual_seed(2)
    with torch.no_grad():
        assert torch.equal(mae(images), loss)
    assert torch.equal(mae.rebuild(images).rebuilt, shown.rebuilt)


@pytest.mark.parametrize(("args", "prefix"), PREFIXES)
def test_gradient_reaches_tower_and_decoder(args, prefix):
    mae = SMALL.build(tower(**args))
    mae(pictures()).backward()
    for name, parameter in mae.named_parameters():
        assert "fc_norm" in name or (parameter.grad is not None and parameter.grad.abs().sum() > 0), name


def test_checkpointing_gives_the_same_gradient():
    mae, gradients = SMALL.build(tower()), []
    for on in (False, True):
        mae.zero_grad()
        mae.tower.vit.set_grad_checkpointing(on)
        torch.manual_seed(3)
        mae(pictures()).backward()
        gradients.append(mae.tower.vit.patch_embed.proj.weight.grad.clone())
    torch.testing.assert_close(gradients[1], gradients[0])


def test_four_pictures_are_learned_and_rebuilt():
    smooth = nn.functional.interpolate(pictures(4, 4).float(), size=32, mode="bilinear").round().to(torch.uint8)
    torch.manual_seed(0)
    mae = MaeSettings(decoder_depth=1, decoder_width=32, decoder_heads=2, mask_ratio=0.5).build(tower())
    optimizer = torch.optim.AdamW(mae.parameters(), lr=3e-3)
    before = mae.eval().rebuild(smooth)
    losses = []
    mae.train()
    for _ in range(150):
        optimizer.zero_grad()
        loss = mae(smooth)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    after = mae.eval().rebuild(smooth)
    assert torch.equal(before.masked, after.masked)  # the same patches hidden, whatever was drawn between
    wrong = [(p.rebuilt.float() - smooth.float()).square().mean() for p in (before, after)]
    assert wrong[1] < 0.6 * wrong[0]


@pytest.mark.parametrize("normalise", [True, False])
def test_rebuilt_pictures_show_visible_patches_as_they_are(normalise):
    mae = SMALL.model_copy(update={"normalise_pixels": normalise}).build(tower()).eval()
    images = pictures(2)
    state = torch.get_rng_state()
    shown, kept = mae.rebuild(images.float(), seed=4), draw_kept(2, 16, 4, torch.device("cpu"), seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(shown.original, images)
    for b, row in enumerate(kept.tolist()):
        for n in range(16):
            top, left = n // 4 * 8, n % 4 * 8
            here = (b, slice(None), slice(top, top + 8), slice(left, left + 8))
            if n in row:
                assert torch.equal(shown.masked[here], images[here])
                assert torch.equal(shown.rebuilt[here], images[here])
            else:
                assert (shown.masked[here] == 128).all()
                assert not torch.equal(shown.rebuilt[here], images[here])


@pytest.mark.parametrize("normalise", [True, False])
def test_a_perfect_decoder_rebuilds_the_original(normalise):
    mae = SMALL.model_copy(update={"normalise_pixels": normalise}).build(tower()).eval()
    images = pictures(2)

    class Perfect(nn.Module):
        def forward(self, tokens, kept):
            cut = ((images / 255.0 - mae.tower.mean) / mae.tower.std).unfold(2, 8, 8).unfold(3, 8, 8)
            numbers = cut.permute(0, 2, 3, 4, 5, 1).reshape(2, 16, -1)
            return (numbers - numbers.mean(-1, True)) / numbers.std(-1, keepdim=True) if normalise else numbers

    mae.decoder = Perfect()
    assert torch.equal(mae.rebuild(images).rebuilt, images)
    assert mae(images) < 1e-6


@pytest.mark.parametrize(("ratio", "kept"), [(0.75, 4), (0.9, 2), (0.999, 1), (0.001, 15)])
def test_at_least_one_patch_is_kept_and_one_hidden(ratio, kept):
    assert SMALL.model_copy(update={"mask_ratio": ratio}).build(tower()).num_kept == kept


def test_plain_patches_and_empty_batches_give_finite_losses():
    mae = SMALL.build(tower())
    assert torch.isfinite(mae(torch.full((2, 3, 32, 32), 9, dtype=torch.uint8)))
    assert mae(pictures(0)) == 0


def test_low_precision_keeps_the_loss_in_float32():
    mae = SMALL.build(tower())
    torch.manual_seed(5)
    full = mae(pictures())
    torch.manual_seed(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mae(pictures())
    torch.manual_seed(5)
    low = mae.to(torch.bfloat16)(pictures())
    assert mixed.dtype == low.dtype == torch.float32
    torch.testing.assert_close(mixed, full, rtol=0.02, atol=0)
    torch.testing.assert_close(low, full, rtol=0.02, atol=0)


def test_towers_that_would_see_hidden_pixels_are_refused():
    holder = nn.Module()
    holder.vit = nn.Conv2d(3, 8, 8)
    with pytest.raises(ConfigError, match=r"plain vision transformer of timm .* not Conv2d"):
        SMALL.build(holder)
    with pytest.raises(ConfigError, match="not Linear"):
        SMALL.build(nn.Linear(2, 2))
    overlapping = tower()
    overlapping.vit.patch_embed.proj.padding = (1, 1)
    with pytest.raises(ConfigError, match="hidden pixels would be seen"):
        SMALL.build(overlapping)
    with pytest.raises(ConfigError, match="at least two patches"):
        SMALL.build(tower(side=8))
    with pytest.raises(ConfigError, match="image_size 30 is no multiple of the patch_size 8"):
        SMALL.build(tower(side=30))


def test_settings_of_a_task_that_extends_these_build_the_same():
    class Task(MaeSettings):
        flip: bool = True

    mae = Task(**SMALL.model_dump()).build(tower())
    assert mae.num_kept == 4
    assert len(mae.decoder.transformer.blocks) == 1
    assert mae.decoder.transformer.blocks[0].heads == 2
    assert mae.decoder.mask_token.shape == (16,)
    assert mae.normalise_pixels


def test_heads_must_share_the_decoders_width():
    with pytest.raises(ValidationError, match="decoder_heads 5 do not divide decoder_width 16"):
        MaeSettings(decoder_width=16, decoder_heads=5)
