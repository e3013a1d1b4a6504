"""What stands behind the mask must not matter: not its values, not NaN, not its amount."""

import torch

from mmsearch.nn import Transformer, masked_mean, zero_masked


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
