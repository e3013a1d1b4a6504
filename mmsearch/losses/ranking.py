"""Losses on graded judgments within a query.

Letters: R judged rows. Both losses are a sum over a count, so that ranks which share a batch (each with whole queries)
can divide by the count of all: with W ranks, L_rank = W * loss(..., count=sum of the ranks' counts) makes the mean
over ranks, of losses and of gradients, that of the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise_logistic(scores: Tensor, grades: Tensor, queries: Tensor, *, count: Tensor | None = None) -> Tensor:
    """Give the RankNet loss over all pairs of one query with different grades (Burges et al. 2005, eq. 3).

    mean over pairs with grade[i] > grade[j] of log(1 + exp(score[j] - score[i])): the smooth twin of the pairs that
    PNR counts, each pair with the same weight.

    Args:
        scores: scaled scores of judged (query, video) rows, [R].
        grades: [R].
        queries: number of the query of each row, [R].
        count: what the sum over pairs is divided by (at least 1). None = `num_graded_pairs` of these rows.

    Returns:
        A scalar; 0 (with a gradient of zeros) when no pair has different grades. Memory is R * R.

    See also:
        listwise_softmax: a query counts once, however many pairs it has.
    """
    better = _better(grades, queries)
    gap = scores.unsqueeze(1) - scores.unsqueeze(0)
    count = better.sum() if count is None else count
    return (F.softplus(-gap) * better).sum() / count.clamp(min=1)


def listwise_softmax(scores: Tensor, grades: Tensor, queries: Tensor, *, count: Tensor | None = None) -> Tensor:
    """Give the ListNet loss: the cross-entropy between top-one probabilities (Cao et al. 2007, phi = exp).

    mean over queries of -sum_j p[j] * log softmax(scores)[j] with p = softmax(grades), both over the rows of one
    query. A step of one grade makes a row e times as likely to stand on top, whatever the scale of grades is. Unlike
    the paper, a query whose grades are all equal is left out: its even target would only push scores together.

    Args:
        scores: scaled scores of judged (query, video) rows, [R].
        grades: [R].
        queries: number of the query of each row, [R].
        count: what the sum over queries is divided by (at least 1). None = `num_graded_lists` of these rows.

    Returns:
        A scalar; 0 (with a gradient of zeros) when no query has different grades. Memory is R * R.

    See also:
        pairwise_logistic: every pair has the same weight, wherever in the list it stands.
    """
    same = _same(queries)
    learned = _learned(grades, queries)
    target = torch.exp(grades.to(scores) - _log_sum_exp(grades.to(scores), same))
    rows = torch.where(learned, target * (_log_sum_exp(scores, same) - scores), 0.0)
    count = num_graded_lists(grades, queries) if count is None else count
    return rows.sum() / count.clamp(min=1)


def num_graded_pairs(grades: Tensor, queries: Tensor) -> Tensor:
    """Count the pairs that `pairwise_logistic` learns from: of one query, with different grades."""
    return _better(grades, queries).sum()


def num_graded_lists(grades: Tensor, queries: Tensor) -> Tensor:
    """Count the queries that `listwise_softmax` learns from: those with different grades."""
    is_first = ~_same(queries).tril(-1).any(1)
    return (is_first & _learned(grades, queries)).sum()


def _same(queries: Tensor) -> Tensor:
    return queries.unsqueeze(1) == queries.unsqueeze(0)


def _better(grades: Tensor, queries: Tensor) -> Tensor:
    return (grades.unsqueeze(1) > grades.unsqueeze(0)) & _same(queries)


def _learned(grades: Tensor, queries: Tensor) -> Tensor:
    """True for rows of a query with different grades, [R]."""
    better = _better(grades, queries)
    return better.any(0) | better.any(1)


def _log_sum_exp(values: Tensor, same: Tensor) -> Tensor:
    """log of the sum of exp over the rows of the same query, [R]."""
    return torch.where(same, values.unsqueeze(0), float("-inf")).logsumexp(1)
