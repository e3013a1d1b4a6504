"""Pairwise and listwise losses against loops; the distance between student and teacher."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.losses import embedding_distance, pairwise_logistic
from mmsearch.losses.ranking import listwise_softmax, num_graded_lists, num_graded_pairs

judged_rows = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(judged_rows)
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


def naive_listwise(rows):
    total, lists = 0.0, 0
    for query in {row[2] for row in rows}:
        scores = [score for score, _, own in rows if own == query]
        grades = [grade for _, grade, own in rows if own == query]
        if len(set(grades)) < 2:
            continue
        lists += 1
        for score, grade in zip(scores, grades, strict=True):
            wanted = math.exp(grade) / sum(math.exp(g) for g in grades)
            total -= wanted * (score - math.log(sum(math.exp(s) for s in scores)))
    return total, lists


@settings(max_examples=40, deadline=None)
@given(judged_rows)
def test_listwise_softmax_equals_the_naive_loop(rows):
    total, lists = naive_listwise(rows)
    scores, grades, queries = columns(rows)
    assert num_graded_lists(grades, queries) == lists
    assert abs(listwise_softmax(scores, grades, queries).item() - total / max(lists, 1)) < 1e-9


@pytest.mark.parametrize(
    ("loss", "number"), [(pairwise_logistic, num_graded_pairs), (listwise_softmax, num_graded_lists)]
)
@settings(max_examples=30, deadline=None)
@given(mine=judged_rows, theirs=judged_rows)
def test_two_ranks_with_the_count_of_both_have_the_loss_of_both_as_mean(loss, number, mine, theirs):
    theirs = [(score, grade, query + 3) for score, grade, query in theirs]
    ranks = [columns(mine), columns(theirs)]
    count = sum(number(grades, queries) for _, grades, queries in ranks)
    shares = [2 * loss(*rank, count=count) for rank in ranks]
    torch.testing.assert_close(torch.stack(shares).mean(), loss(*columns(mine + theirs)))


def columns(rows):
    scores, grades, queries = zip(*rows, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(grades), torch.tensor(queries)


@pytest.mark.parametrize("loss", [pairwise_logistic, listwise_softmax])
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_equal_grades_teach_nothing(loss, rows):
    scores = torch.randn(rows, requires_grad=True)
    found = loss(scores, torch.ones(rows), torch.zeros(rows))
    found.backward()
    assert found.item() == 0
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros(rows))


def test_listwise_is_least_where_the_scores_are_the_grades():
    grades, queries = torch.tensor([0, 1, 3]), torch.zeros(3)
    scores = grades.double().requires_grad_()
    listwise_softmax(scores, grades, queries).backward()
    torch.testing.assert_close(scores.grad, torch.zeros(3, dtype=torch.float64))


def test_the_teacher_learns_nothing_from_the_distance():
    student, teacher = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    loss = embedding_distance(student, teacher)
    loss.backward()
    assert teacher.grad is None
    torch.testing.assert_close(loss, ((student - teacher) ** 2).sum() / 3)
    assert embedding_distance(student[:0], teacher[:0]).item() == 0
