"""Scores of a query with stored documents, which may have several codes each. `mmsearch.matching` trains for the same.

Letters: N documents, M codes of a document, D components.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32

#: A cosine of unit vectors beyond this comes from damaged bytes, not from rounding.
_MAX_COSINE = 1.05
#: As in `torch.nn.functional.normalize`: codes that cancel out have a mean of length 0, and the score 0.
_MIN_LENGTH = 1e-12


def score_rows(rows: Float32, query: Float32, space: TowerSpace) -> tuple[Float32, Bool]:
    """Score the rows of a forward index against a query: M dots a document, then one number of them.

    With s[i] the cosine of the query and code i, a document scores max_i s[i] (`max`), min_i s[i] (`min`),
    sum_i softmax(sharpness * s)[i] s[i] (`weighted`, arXiv:1905.01969 eq. 3 and 4), or the cosine with the mean of its
    codes (`mean`). No vector of a document that depends on the query is built. With one code all are that cosine.

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
        each = (codes.reshape(-1, space.dim) @ query).reshape(len(rows), space.num_codes)
        scores = each[:, 0] if space.num_codes == 1 else _select(codes, each, space)
        # NaN compares false: numpy, torch and faiss would all rank it first
        sound = (np.abs(each) <= _MAX_COSINE).all(axis=1)
    return scores, sound


def _select(codes: Float32, each: Float32, space: TowerSpace) -> Float32:
    """Give one score for the cosines of each document's codes, [N, M] to [N]."""
    if space.selection == "max":
        return np.asarray(each.max(axis=1))
    if space.selection == "min":
        return np.asarray(each.min(axis=1))
    if space.selection == "weighted":
        weights = np.exp(np.float32(space.sharpness) * (each - each.max(axis=1, keepdims=True)))
        return np.asarray((weights * each).sum(axis=1) / weights.sum(axis=1))
    if space.selection == "mean":
        lengths = np.linalg.norm(codes.mean(axis=1), axis=1)
        return np.asarray(each.mean(axis=1) / np.maximum(lengths, _MIN_LENGTH))
    assert_never(space.selection)
