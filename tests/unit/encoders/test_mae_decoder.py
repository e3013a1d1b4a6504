"""The decoder of a masked autoencoder against a loop over patches."""

import pytest
import torch
from torch import nn

from mmsearch.encoders.mae_decoder import PixelDecoder
from mmsearch.encoders.patches import sincos_positions

KEPT = torch.tensor([[1, 4], [0, 3]])


def decoder(*, prefix, norm):
    torch.manual_seed(0)
    made = PixelDecoder(6, (2, 3), 5, width=8, depth=1, heads=2, prefix=prefix, norm=norm)
    return made.eval()


@pytest.mark.parametrize(("prefix", "norm"), [(1, False), (3, False), (0, True)])
def test_every_patch_stands_at_its_place(prefix, norm):
    made, tokens = decoder(prefix=prefix, norm=norm), torch.randn(2, prefix + 2, 6)
    places, mixed_in = sincos_positions((2, 3), 8), []
    made.transformer.register_forward_hook(lambda _, given, __: mixed_in.append(given[0]))
    pixels = made(tokens, KEPT)
    for b, kept in enumerate(KEPT.tolist()):
        entered = [made.enter(nn.functional.layer_norm(t, (6,)) if norm else t) for t in tokens[b]]
        rows = entered[:prefix]
        for n in range(6):
            rows.append((entered[prefix + kept.index(n)] if n in kept else made.mask_token) + places[n])
        torch.testing.assert_close(mixed_in[0][b], torch.stack(rows))
    torch.testing.assert_close(pixels, made.leave(made.transformer(mixed_in[0]))[:, prefix:])
    assert pixels.shape == (2, 6, 5)


def test_positions_are_no_part_of_the_state():
    assert "positions" not in decoder(prefix=1, norm=False).state_dict()


def test_what_is_visible_changes_what_is_said_of_hidden_patches():
    made, tokens = decoder(prefix=1, norm=False), torch.randn(2, 3, 6)
    changed = tokens.clone()
    changed[:, 2] += 1
    hidden = [2, 5]  # of both pictures
    assert not torch.allclose(made(tokens, KEPT)[:, hidden], made(changed, KEPT)[:, hidden])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_over_blocks_keep_the_type_of_the_parameters(dtype):
    made, summed = decoder(prefix=1, norm=False).to(dtype), []
    made.transformer.register_forward_hook(lambda _, given, __: summed.append(given[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
        made(torch.randn(2, 3, 6, dtype=dtype), KEPT)
    assert summed == [dtype]
