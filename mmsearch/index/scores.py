"""Scores of documents of a forward index, whatever the selection among their codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmsearch.index.codes import needs_lengths, score_rows, select
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32


def score_documents(
    index: ForwardIndex, space: TowerSpace, rows: npt.NDArray[np.int64], query: Float32
) -> tuple[Float32, Bool]:
    """Score documents in one space, straight from what is stored (`ForwardIndex.dots`) where dots alone make the score.

    Args:
        index: the forward index.
        space: of the query tower that was published with these rows.
        rows: rows of documents, as `ForwardIndex.rows` gives them; -1 is allowed, [N].
        query: L2-normalised, [D].

    Returns:
        The scores, [N]: those of `score_rows` up to rounding, 0 where a document is not present; and which are, [N].

    Raises:
        DataError: there is no such space, or the query does not fit it.
        FingerprintError: the rows come from two models.
        IndexError: a row is out of range.
    """
    if not needs_lengths(space):
        dots, present = index.dots(space.name, rows, query)
        return select(dots, space), present
    vectors, present = index.vectors(space.name, rows)
    scores, sound = score_rows(vectors, query, space)
    present &= sound
    return np.where(present, scores, np.float32(0)), present
