"""The pairwise loss against a loop over pairs; the distance between student and teacher."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.losses import embedding_distance, pairwise_logistic


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_pairwise_logistic_equals_the_naive_loop(rows):
    scores = torch.tensor([r[0] for r in rows], dtype=torch.float64)
    pairs = [
        math.log1p(math.exp(worse[0] - better[0]))
        for better in rows
        for worse in rows
        if better[1] > worse[1] and better[2] == worse[2]
    ]
    loss = pairwise_logistic(scores, torch.tensor([r[1] for r in rows]), torch.tensor([r[2] for r in rows]))
    assert abs(loss.item() - (sum(pairs) / len(pairs) if pairs else 0.0)) < 1e-9


def test_equal_grades_teach_nothing():
    scores = torch.randn(4, requires_grad=True)
    pairwise_logistic(scores, torch.ones(4), torch.zeros(4)).backward()
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros(4))


def test_the_teacher_learns_nothing_from_the_distance():
    student, teacher = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    loss = embedding_distance(student, teacher)
    loss.backward()
    assert teacher.grad is None
    torch.testing.assert_close(loss, ((student - teacher) ** 2).sum() / 3)
    assert embedding_distance(student[:0], teacher[:0]).item() == 0
