"""Losses on graded judgments within a query."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pairwise_logistic(scores: Tensor, grades: Tensor, queries: Tensor) -> Tensor:
    """Give the RankNet loss over all pairs of one query with different grades (Burges et al. 2005, eq. 3).

    mean over pairs with grade[i] > grade[j] of log(1 + exp(score[j] - score[i])): the smooth twin of the pairs that
    PNR counts, each pair with the same weight.

    Args:
        scores: scaled scores of judged (query, video) rows, [R].
        grades: [R].
        queries: number of the query of each row, [R].

    Returns:
        A scalar; 0 (with a gradient of zeros) when no pair has different grades. Memory is R * R.
    """
    better = (grades.unsqueeze(1) > grades.unsqueeze(0)) & (queries.unsqueeze(1) == queries.unsqueeze(0))
    gap = scores.unsqueeze(1) - scores.unsqueeze(0)
    return (F.softplus(-gap) * better).sum() / better.sum().clamp(min=1)
