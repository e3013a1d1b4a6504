"""InfoNCE against loops, and what masks do to it."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.losses import info_nce
from mmsearch.losses.contrastive import info_nce_rows


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


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000))
def test_rows_of_a_rectangle_equal_the_naive_loop(height, extra, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(height, height + extra, generator=generator, dtype=torch.float64)
    own = torch.randperm(height + extra, generator=generator)[:height]
    ignored = torch.rand(logits.shape, generator=generator) < 0.4
    expected = []
    for row, column, mask in zip(logits.tolist(), own.tolist(), ignored.tolist(), strict=True):
        kept = [math.exp(x) for x, is_out in zip(row, mask, strict=True) if not is_out]
        expected.append(0.0 if mask[column] else math.log(sum(kept)) - row[column])
    torch.testing.assert_close(info_nce_rows(logits, own, ignored), torch.tensor(expected, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 10_000))
def test_slices_of_the_batch_sum_up_to_the_whole(ranks, local, seed):
    generator = torch.Generator().manual_seed(seed)
    size = ranks * local
    logits = torch.randn(size, size, generator=generator, dtype=torch.float64)
    positives = torch.rand(size, size, generator=generator) < 0.3
    rows, columns = torch.rand(2, size, generator=generator) < 0.6
    learned = rows & columns
    others = positives & ~torch.eye(size, dtype=torch.bool) | torch.diag(~learned)
    total = logits.new_zeros(())
    for own in torch.arange(size).split(local):
        total += info_nce_rows(logits[own], own, others[own] | ~columns).sum()
        total += info_nce_rows(logits[:, own].T, own, others[:, own].T).sum()
    whole = info_nce(logits, positives, rows=rows, columns=columns)
    torch.testing.assert_close(total / (2 * learned.sum().clamp(min=1)), whole)


def test_what_is_ignored_may_be_anything_even_nan():
    logits = torch.randn(3, 4)
    logits[0], logits[1, 2] = float("nan"), float("inf")
    logits.requires_grad_()
    ignored = torch.zeros(3, 4, dtype=torch.bool)
    ignored[0], ignored[1, 2] = True, True
    losses = info_nce_rows(logits, torch.tensor([0, 1, 2]), ignored)
    losses.sum().backward()
    assert losses[0] == 0
    assert torch.isfinite(losses).all()
    assert logits.grad is not None
    assert torch.equal(logits.grad[0], torch.zeros(4))
    assert logits.grad[1, 2] == 0
    assert (logits.grad[2] != 0).all()


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
