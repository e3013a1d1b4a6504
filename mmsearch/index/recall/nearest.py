"""Ways to find the documents of a space that score highest for one query vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.index.codes import score_rows
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Float32

Int64 = npt.NDArray[np.int64]
#: A query vector [D] and k, to the scores and rows of the best documents, best first.
Nearest = Callable[[Float32, int], tuple[Float32, Int64]]

#: How far from 1 the squared length of a stored vector may be; written ones are within 0.05.
_SQUARE_TOLERANCE = 0.1
_SCORED_AT_ONCE = 8192


def sound_blocks(index: ForwardIndex, space: TowerSpace, rows: range | None = None) -> Iterator[tuple[Int64, Float32]]:
    """Give the rows and vectors of documents that are present and undamaged, block by block: [B], [B, M*D]."""
    for kept, vectors in index.blocks(space.name, rows):
        codes = vectors.reshape(len(vectors), space.num_codes, space.dim)
        with np.errstate(all="ignore"):
            squares = np.einsum("nmd,nmd->nm", codes, codes)
            # damaged vectors (NaN, or far too long) would come first; NaN fails the comparison
            good = (np.abs(squares - 1) < _SQUARE_TOLERANCE).all(axis=1)
        yield kept[good], vectors[good]


def flat(faiss: Any, index: ForwardIndex, space: TowerSpace, rows: range) -> Nearest:
    """Search documents of one vector each, all of them, by faiss."""
    built = faiss.IndexFlatIP(space.dim)
    parts = [np.empty(0, np.int64)]
    for block, vectors in sound_blocks(index, space, rows):
        built.add(vectors)
        parts.append(block)
    kept = np.concatenate(parts)

    def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
        scores, places = built.search(query[None], min(k, max(len(kept), 1)))
        found = places[0] >= 0
        return scores[0][found], kept[places[0][found]]

    return nearest


def scan(index: ForwardIndex, space: TowerSpace, rows: range) -> Nearest:
    """Search documents of several codes, all of them, as the selection of the space says."""
    num_present = int(np.count_nonzero(index.present(space.name)[rows.start : rows.stop]))
    codes = np.empty((num_present, space.num_codes * space.dim), np.float32)
    kept = np.empty(num_present, np.int64)
    end = 0
    for block, vectors in sound_blocks(index, space, rows):
        codes[end : end + len(block)], kept[end : end + len(block)] = vectors, block
        end += len(block)
    codes, kept = codes[:end], kept[:end]

    def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
        scores, _ = score_rows(codes, query, space)
        return best_of(scores, kept, k)

    return nearest


def merged(*searches: Nearest) -> Nearest:
    """Search several sets of documents as one."""

    def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
        return best_of_all([search(query, k) for search in searches], k)

    return nearest


def best_of_all(found: Sequence[tuple[Float32, Int64]], k: int) -> tuple[Float32, Int64]:
    """Give the k best of what several searches found."""
    scores = [np.empty(0, np.float32), *(scores for scores, _ in found)]
    rows = [np.empty(0, np.int64), *(rows for _, rows in found)]
    return best_of(np.concatenate(scores), np.concatenate(rows), k)


def best_of(scores: Float32, rows: Int64, k: int) -> tuple[Float32, Int64]:
    """Give the k highest scores and their rows, best first; of equal ones the lower row first."""
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    best = best[np.lexsort((rows[best], -scores[best]))]
    return scores[best], rows[best]


def exact_best(index: ForwardIndex, space: TowerSpace, queries: Float32, k: int) -> tuple[Float32, Int64]:
    """Give the k documents that score highest for each query, by reading all vectors once.

    Args:
        index: the forward index.
        space: of the query tower that was published with the vectors.
        queries: L2-normalised query vectors, [Q, D].
        k: how many of each.

    Returns:
        Scores and rows, best first, [Q, k]; -inf and -1 where there are fewer documents.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    kept = np.full((len(queries), k), -1, np.int64)
    for block, vectors in sound_blocks(index, space):
        for start in range(0, len(block), _SCORED_AT_ONCE):
            rows = block[start : start + _SCORED_AT_ONCE]
            scored = _scores(vectors[start : start + _SCORED_AT_ONCE], queries, space)
            scores = np.concatenate([best, scored], axis=1)
            candidates = np.concatenate([kept, np.broadcast_to(rows, scored.shape)], axis=1)
            places = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            best, kept = np.take_along_axis(scores, places, 1), np.take_along_axis(candidates, places, 1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best, order, 1), np.take_along_axis(kept, order, 1)


def _scores(vectors: Float32, queries: Float32, space: TowerSpace) -> Float32:
    if space.num_codes == 1:
        return np.asarray(queries @ vectors.T)
    return np.stack([score_rows(vectors, query, space)[0] for query in queries])
