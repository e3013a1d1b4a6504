"""What stands behind the mask must not matter: not its values, not NaN, not its amount."""

import pytest
import torch

from mmsearch.nn import Transformer, attend, attention_weights, masked_mean, zero_masked


def test_padding_does_not_leak_even_if_it_is_nan():
    torch.manual_seed(0)
    tower = Transformer(16, 2, 4).eval()
    tokens = torch.randn(3, 5, 16)
    mask = torch.ones(3, 5, dtype=torch.bool)
    short = tower(tokens, mask)
    padded = torch.cat([tokens, torch.full((3, 4, 16), float("nan"))], 1)
    long = tower(padded, torch.cat([mask, torch.zeros(3, 4, dtype=torch.bool)], 1))
    torch.testing.assert_close(long[:, :5], short)


def test_gradients_stay_finite_with_nan_behind_the_mask():
    tower = Transformer(8, 1, 2)
    tokens = torch.randn(2, 3, 8)
    tokens[:, 2] = float("nan")
    mask = torch.tensor([[True, True, False]] * 2)
    tower(tokens, mask)[:, :2].sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in tower.parameters())


def test_attention_equals_a_naive_loop():
    torch.manual_seed(1)
    tower = Transformer(8, 1, 2).eval()
    block, tokens = tower.blocks[0], torch.randn(1, 4, 8)
    q, k, v = block.qkv(block.norm_attention(tokens))[0].chunk(3, -1)
    heads = []
    for h in range(2):
        at = slice(4 * h, 4 * h + 4)
        rows = []
        for i in range(4):
            weights = torch.stack([(q[i, at] * k[j, at]).sum() / 2.0 for j in range(4)]).softmax(0)
            rows.append(sum(weights[j] * v[j, at] for j in range(4)))
        heads.append(torch.stack(rows))
    mixed = tokens + block.out(torch.cat(heads, -1))
    expected = tower.norm(mixed + block.mlp(block.norm_mlp(mixed)))
    torch.testing.assert_close(tower(tokens), expected)


def test_masked_mean_of_nothing_is_zeros_and_ignores_nan():
    tokens = torch.tensor([[[1.0], [3.0], [float("nan")]], [[float("nan")]] * 3])
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert masked_mean(tokens, mask).tolist() == [[2.0], [0.0]]
    assert zero_masked(tokens, mask).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_attention_weights_mix_values_as_the_fused_attention_does(dtype):
    torch.manual_seed(2)
    q, k, v = (torch.randn(3, 2, n, 4, dtype=dtype) for n in (5, 7, 7))
    allowed = torch.rand(3, 1, 1, 7) < 0.5
    allowed[..., 0] = True
    weights = attention_weights(q, k, allowed)
    assert weights.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    assert (weights.masked_select(~allowed) == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 5, dtype=weights.dtype))
    torch.testing.assert_close((weights @ v.to(weights.dtype)).to(dtype), attend(q, k, v, allowed))
    unmasked = (attention_weights(q, k, None) @ v.to(weights.dtype)).to(dtype)
    torch.testing.assert_close(unmasked, attend(q, k, v, None))


def test_a_transformer_gives_the_attention_that_it_works_with():
    """Mixing by what it gives, layer after layer, is its own forward pass."""
    torch.manual_seed(3)
    tower = Transformer(8, 2, 2).eval()
    tokens, mask = (
        torch.randn(3, 5, 8),
        torch.tensor([[True] * 5, [True, True, False, False, True], [True] + [False] * 4]),
    )
    tokens[~mask] = float("nan")
    whole = list(tower.attention(tokens, mask, queries=5))
    stream = zero_masked(tokens, mask)
    for block, weights in zip(tower.blocks, whole, strict=True):
        assert weights.shape == (3, 2, 5, 5)
        assert (weights.masked_select(~mask[:, None, None, :]) == 0).all()
        v = block.qkv(block.norm_attention(stream)).chunk(3, -1)[2].view(3, 5, 2, 4).transpose(1, 2)
        stream = block.change(stream + block.out((weights @ v).transpose(1, 2).reshape(3, 5, 8)))
    torch.testing.assert_close(tower.norm(stream), tower(tokens, mask))
    for first, weights in zip(tower.attention(tokens, mask, queries=2), whole, strict=True):
        torch.testing.assert_close(first, weights[:, :, :2])
