"""Poly matching: a video has M codes, and the query decides how they count (arXiv:1905.01969, section 4.4).

With one code every selection is the cosine of two towers ("dual"). Letters: Q queries, V videos, M codes,
D components.
"""

from __future__ import annotations

from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

Selection = Literal["max", "weighted", "min", "mean"]


def poly_scores(query: Tensor, codes: Tensor, selection: Selection = "max") -> Tensor:
    """Score every query against every video.

    With c[i] the unit-length codes of a video and q a unit-length query, s[i] = q . c[i] and the score is

    - `max`: max_i s[i], so that gradients reach the closest code only (our default in training);
    - `weighted`: sum_i softmax(s)[i] s[i], the original (eq. 3, without temperature as there) up to the length of
      the weighted code, which is not taken out again;
    - `min`: min_i s[i], the code that is furthest off;
    - `mean`: cosine with the normalised mean code, which is what is served from an index of single vectors.

    Args:
        query: L2-normalised, [Q, D].
        codes: L2-normalised, [V, M, D].
        selection: how the codes count.

    Returns:
        [Q, V] in [-1, 1]. Peak memory is Q*V*M numbers (`mean`: Q*V); no vector of a video per query is ever built.
    """
    if selection == "mean":
        return query @ mean_code(codes).T
    return _select(torch.einsum("qd,vmd->qvm", query, codes), selection)


def paired_poly_scores(query: Tensor, codes: Tensor, selection: Selection = "max") -> Tensor:
    """Score query i against video i alone: [B, D] and [B, M, D] to [B]. `poly_scores` says how the codes count."""
    if selection == "mean":
        return (query * mean_code(codes)).sum(-1)
    return _select(torch.einsum("bd,bmd->bm", query, codes), selection)


def _select(each: Tensor, selection: Literal["max", "weighted", "min"]) -> Tensor:
    if selection == "max":
        return each.amax(-1)
    if selection == "min":
        return each.amin(-1)
    if selection == "weighted":
        return (each.softmax(-1) * each).sum(-1)
    assert_never(selection)


def mean_code(codes: Tensor) -> Tensor:
    """Give the normalised mean of the codes: [V, M, D] to [V, D]. Codes that cancel out give zeros."""
    return F.normalize(codes.mean(-2), dim=-1)
