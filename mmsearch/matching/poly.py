"""Poly matching: a video has M codes, and the query decides how they count (arXiv:1905.01969, section 4.4).

With one code every selection is the cosine of two towers ("dual"). Letters: Q queries, V videos, M codes,
D components.
"""

from __future__ import annotations

from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings
from mmsearch.types import Selection


class PolySettings(Settings):
    """How a query selects among the codes of a video: in training, and where codes are served."""

    selection: Selection = "max"
    """`max`: the closest code; `weighted`: all, the closer the more; `min`: the furthest; `mean`: their mean vector."""
    sharpness: float = Field(default=10.0, gt=0)
    """Of `weighted`: what cosines are multiplied by before the softmax. 1 weighs all codes nearly alike, for cosines
    are never far apart; large numbers come to `max`."""


def poly_scores(query: Tensor, codes: Tensor, poly: PolySettings) -> Tensor:
    """Score every query against every video.

    With c[i] the unit-length codes of a video and q a unit-length query, s[i] = q . c[i] and the score is

    - `max`: max_i s[i], so that gradients reach the closest code only;
    - `weighted`: sum_i softmax(sharpness * s)[i] s[i], which is the original's q . sum_i w[i] c[i] (eq. 3 and 4). There
      vectors are not normalised, and their length is the sharpness;
    - `min`: min_i s[i], the code that is furthest off;
    - `mean`: cosine with the normalised mean code, which is what is served from an index of single vectors.

    Args:
        query: L2-normalised, [Q, D].
        codes: L2-normalised, [V, M, D].
        poly: how the codes count.

    Returns:
        [Q, V] in [-1, 1]. Peak memory is Q*V*M numbers (`mean`: Q*V); no vector of a video per query is ever built:
        M dots, then the weighted sum of scores.
    """
    if poly.selection == "mean":
        return query @ mean_code(codes).T
    return _select(torch.einsum("qd,vmd->qvm", query, codes), poly.selection, poly.sharpness)


def paired_poly_scores(query: Tensor, codes: Tensor, poly: PolySettings) -> Tensor:
    """Score query i against video i alone: [B, D] and [B, M, D] to [B]. `poly_scores` says how the codes count."""
    if poly.selection == "mean":
        return (query * mean_code(codes)).sum(-1)
    return _select(torch.einsum("bd,bmd->bm", query, codes), poly.selection, poly.sharpness)


def _select(each: Tensor, selection: Literal["max", "weighted", "min"], sharpness: float) -> Tensor:
    if selection == "max":
        return each.amax(-1)
    if selection == "min":
        return each.amin(-1)
    if selection == "weighted":
        return ((sharpness * each).softmax(-1) * each).sum(-1)
    assert_never(selection)


def mean_code(codes: Tensor) -> Tensor:
    """Give the normalised mean of the codes: [V, M, D] to [V, D]. Codes that cancel out give zeros."""
    return F.normalize(codes.mean(-2), dim=-1)
