"""Scores of a query with stored documents, which may have several codes each. `mmsearch.matching` trains for the same.

Letters: N documents, M codes of a document, D components.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32

#: A cosine of unit vectors beyond this comes from damaged bytes, not from rounding.
MAX_COSINE = 1.05
#: As in `torch.nn.functional.normalize`: codes that cancel out have a mean of length 0, and the score 0.
_MIN_LENGTH = 1e-12


def score_rows(rows: Float32, query: Float32, space: TowerSpace) -> tuple[Float32, Bool]:
    """Score the rows of a forward index against a query: M dots a document, then one number of them (`select`).

    No vector of a document that depends on the query is built.

    Args:
        rows: codes one after another, [N, M*D]. They may be damaged and hold anything.
        query: L2-normalised, [D].
        space: of the query tower that was published with the rows; how its codes count.

    Returns:
        The scores, in [-1, 1] up to rounding, [N]; and which of them mean something, [N]: False for a document of which
        any code is damaged, also where another code is the one that counts.
    """
    codes = rows.reshape(len(rows), space.num_codes, space.dim)
    with np.errstate(all="ignore"):  # what damaged rows make of it is thrown away by the caller
        dots = (codes.reshape(-1, space.dim) @ query).reshape(len(rows), space.num_codes)
        scores = select(dots, space, mean_lengths(rows, space) if needs_lengths(space) else None)
        # NaN compares false: numpy, torch and faiss would all rank it first
        sound = (np.abs(dots) <= MAX_COSINE).all(axis=1)
    return scores, sound


def needs_lengths(space: TowerSpace) -> bool:
    """Tell whether dots alone make no score: `mean` of several codes is a cosine with a vector that is not stored."""
    return space.selection == "mean" and space.num_codes > 1


def mean_lengths(rows: Float32, space: TowerSpace) -> Float32:
    """Give the length of the mean of each document's codes, [N], from the codes one after another, [N, M*D]."""
    return np.asarray(np.linalg.norm(rows.reshape(len(rows), space.num_codes, space.dim).mean(axis=1), axis=1))


def select(dots: Float32, space: TowerSpace, lengths: Float32 | None = None) -> Float32:
    """Give one score for the dots of each document's codes with the query.

    With s[i] the cosine of the query and code i, a document scores max_i s[i] (`max`), min_i s[i] (`min`),
    sum_i softmax(sharpness * s)[i] s[i] (`weighted`, arXiv:1905.01969 eq. 3 and 4), or the cosine with the mean of its
    codes (`mean`). With one code all are that cosine.

    Args:
        dots: cosines of the query with each code, [N, M].
        space: how the codes count.
        lengths: `mean_lengths`, where `needs_lengths`, [N].

    Returns:
        The scores, [N].
    """
    if dots.shape[1] == 1:
        return dots[:, 0]
    if space.selection == "max":
        return np.asarray(dots.max(axis=1))
    if space.selection == "min":
        return np.asarray(dots.min(axis=1))
    if space.selection == "weighted":
        return np.asarray((softmax_weights(dots, space.sharpness) * dots).sum(axis=1))
    if space.selection == "mean":
        if lengths is None:
            raise ValueError("`mean` of several codes needs the lengths of their means")
        return np.asarray(dots.mean(axis=1) / np.maximum(lengths, _MIN_LENGTH))
    assert_never(space.selection)


def softmax_weights(dots: Float32, sharpness: float) -> Float32:
    """Give how much each code counts in `weighted`, [N, M]: softmax over codes of sharpness times the dots."""
    weights = np.exp(np.float32(sharpness) * (dots - dots.max(axis=1, keepdims=True)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
