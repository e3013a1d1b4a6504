"""Patches against naive loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmsearch.encoders.patches import KeepPatches, draw_kept, patchify, sincos_positions, unpatchify


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_patches_are_cut_row_by_row_and_put_together_again(count, rows, columns, height, width):
    shape = (count, 3, rows * height, columns * width)
    pictures = torch.arange(math.prod(shape)).reshape(shape)
    patches = patchify(pictures, (height, width))
    assert patches.shape == (count, rows * columns, height * width * 3)
    for b, r, c, y, x, channel in [(count - 1, rows - 1, 0, height - 1, 0, 2), (0, 0, columns - 1, 0, width - 1, 1)]:
        expected = pictures[b, channel, r * height + y, c * width + x]
        assert patches[b, r * columns + c, (y * width + x) * 3 + channel] == expected
    assert torch.equal(unpatchify(patches, (height, width), (rows, columns)), pictures)


@pytest.mark.parametrize("seed", [None, 5])
def test_each_picture_draws_its_own_patches_without_repetition(seed):
    torch.manual_seed(0)
    kept = draw_kept(500, 8, 2, torch.device("cpu"), seed)
    assert kept.shape == (500, 2)
    assert (kept[:, 0] < kept[:, 1]).all()
    shares = torch.bincount(kept.flatten(), minlength=8) / 500
    assert ((shares - 0.25).abs() < 0.08).all()  # 4 standard errors


def test_a_seed_of_its_own_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw_kept(4, 16, 4, torch.device("cpu"), seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, draw_kept(4, 16, 4, torch.device("cpu"), seed=1))
    assert not torch.equal(first, draw_kept(4, 16, 4, torch.device("cpu"), seed=2))
    drawn = draw_kept(4, 16, 4, torch.device("cpu"))
    torch.manual_seed(0)
    assert torch.equal(drawn, draw_kept(4, 16, 4, torch.device("cpu")))


def test_kept_tokens_equal_a_loop_over_pictures():
    keep = KeepPatches(nn.Identity(), prefix=2)
    tokens, kept = torch.randn(3, 2 + 5, 4), torch.tensor([[0, 4], [1, 2], [2, 3]])
    rows = [torch.stack([t[0], t[1], *(t[2 + n] for n in k)]) for t, k in zip(tokens, kept.tolist(), strict=True)]
    with keep.keeping(kept):
        assert torch.equal(keep(tokens), torch.stack(rows))
    assert keep(tokens) is tokens


def test_patches_are_let_go_when_the_pass_fails():
    keep, tokens = KeepPatches(nn.Identity(), prefix=0), torch.randn(1, 3, 2)
    with pytest.raises(KeyError), keep.keeping(torch.tensor([[1]])):
        raise KeyError
    assert keep(tokens) is tokens


def test_positions_equal_sines_and_cosines_written_out():
    codes = sincos_positions((3, 2), 8)
    for row in range(3):
        for column in range(2):
            expected = []
            for place in (column, row):
                expected += [math.sin(place), math.sin(place / 100), math.cos(place), math.cos(place / 100)]
            torch.testing.assert_close(codes[row * 2 + column], torch.tensor(expected))
