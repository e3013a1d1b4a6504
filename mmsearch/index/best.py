"""The best documents of many queries, by reading all vectors once: what faster searches are measured against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmsearch.index.ann import sound_blocks
from mmsearch.index.codes import score_rows
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Float32


def exact_best(
    index: ForwardIndex, space: TowerSpace, queries: Float32, k: int
) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Give the k documents that score highest for each query, best first.

    Args:
        index: the forward index.
        space: of the query tower that was published with the vectors.
        queries: L2-normalised query vectors, [Q, D].
        k: how many of each.

    Returns:
        Scores and rows, [Q, k]; -inf and -1 where there are fewer documents. Memory: Q scores of 64k documents.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    kept = np.full((len(queries), k), -1, np.int64)
    for rows, vectors in sound_blocks(index, space):
        scores = np.concatenate([best, _scores(vectors, queries, space)], axis=1)
        candidates = np.concatenate([kept, np.broadcast_to(rows, (len(queries), len(rows)))], axis=1)
        places = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        best, kept = np.take_along_axis(scores, places, 1), np.take_along_axis(candidates, places, 1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best, order, 1), np.take_along_axis(kept, order, 1)


def _scores(vectors: Float32, queries: Float32, space: TowerSpace) -> Float32:
    if space.num_codes == 1:
        return np.asarray(queries @ vectors.T)
    return np.stack([score_rows(vectors, query, space)[0] for query in queries])
