"""InfoNCE against loops, and what masks do to it."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.losses import info_nce


def naive(logits, positives, rows, columns):
    total, learned = 0.0, 0
    size = len(logits)
    for i in range(size):
        if not (rows[i] and columns[i]):
            continue
        learned += 1
        to_video = [logits[i][j] for j in range(size) if j == i or (columns[j] and not positives[i][j])]
        to_query = [logits[j][i] for j in range(size) if j == i or not positives[j][i]]
        for others in (to_video, to_query):
            total += math.log(sum(math.exp(x) for x in others)) - logits[i][i]
    return total / (2 * learned) if learned else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_equals_the_naive_loop(size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, size, generator=generator, dtype=torch.float64)
    positives = (torch.rand(size, size, generator=generator) < 0.3) | torch.eye(size, dtype=torch.bool)
    rows = torch.rand(size, generator=generator) < 0.7
    columns = torch.rand(size, generator=generator) < 0.7
    expected = naive(logits.tolist(), positives.tolist(), rows.tolist(), columns.tolist())
    assert abs(info_nce(logits, positives, rows=rows, columns=columns).item() - expected) < 1e-9


def test_without_masks_it_is_cross_entropy_in_both_directions():
    logits = torch.randn(5, 5)
    target = torch.arange(5)
    both = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
    torch.testing.assert_close(info_nce(logits, torch.eye(5, dtype=torch.bool)), both / 2)


def test_a_second_positive_is_neither_target_nor_negative():
    positives = torch.eye(3, dtype=torch.bool)
    positives[0, 1] = True
    logits = torch.zeros(3, 3)
    before = info_nce(logits, positives)
    logits[0, 1] = 50.0
    assert info_nce(logits, positives) == before


def test_no_learned_pair_gives_zero_and_finite_gradients():
    logits = torch.randn(3, 3, requires_grad=True)
    loss = info_nce(logits, torch.eye(3, dtype=torch.bool), columns=torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(3, 3))
