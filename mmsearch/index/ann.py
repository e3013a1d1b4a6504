"""Recall: the documents of a space nearest to a query vector."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError
from mmsearch.extras import require
from mmsearch.index.codes import score_rows
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.protocols import Float32

Int64 = npt.NDArray[np.int64]
#: A query vector [D] and k, to the scores and rows of the best documents, best first.
Nearest = Callable[[Float32, int], tuple[Float32, Int64]]

#: How far from 1 the squared length of a stored vector may be; written ones are within 0.05.
_SQUARE_TOLERANCE = 0.1


class ExactSearch:
    """Exact search over the vectors of a forward index; scores are those of `FeatureScorer`.

    Where a document has one vector, this is the inner product (faiss `IndexFlatIP`); where it has several codes, every
    document is scored by `score_rows`, so that what is found and in which order is what the selection says. A space is
    loaded when it is first searched: 4 bytes a component, and once more 64k documents while loading. Over 100,000
    documents of dimension 256 a query takes about 8 ms on one core, with 5 codes a document six times that. Safe for
    threads.

    Args:
        index: the forward index; its generation is searched, whatever is published later.

    Raises:
        MissingExtraError: faiss is absent.
        DataError: the query tower of the generation is not there.
        CorruptIndexError: `query_tower.json` cannot be read.
    """

    def __init__(self, index: ForwardIndex) -> None:
        self._faiss = require("faiss", extra="faiss")
        self._index = index
        self._spaces = {space.name: space for space in read_query_tower(index.query_tower).spaces}
        self._lock = threading.Lock()
        self._loaded: dict[str, Nearest] = {}

    def search(self, space: str, query_vector: Float32, k: int) -> tuple[list[str], Float32]:
        """Give the documents that score highest, best first.

        Args:
            space: name of the space.
            query_vector: L2-normalised, [D]. A vector of zeros (a query that says nothing) finds nothing.
            k: how many at most, at least 1.

        Returns:
            The ids and their scores. Documents without a vector in this space never come back, so there may be
            fewer than k.

        Raises:
            DataError: there is no such space, or the vector does not fit it.
        """
        if k < 1:
            raise DataError(f"k is {k}; ask for one document or more")
        nearest = self._load(space)
        query = np.ascontiguousarray(query_vector, dtype=np.float32).reshape(-1)
        dim = self._spaces[space].dim
        if len(query) != dim or not np.isfinite(query).all():
            raise DataError(f"space '{space}': the query vector must be {dim} finite numbers")
        if not query.any():
            return [], np.empty(0, np.float32)
        scores, rows = nearest(query, k)
        return [self._index.doc_ids[int(row)] for row in rows], scores

    def _load(self, space: str) -> Nearest:
        with self._lock:
            if space not in self._loaded:
                num_present = int(np.count_nonzero(self._index.present(space)))
                told = self._spaces[space]
                self._loaded[space] = self._flat(told) if told.num_codes == 1 else self._scan(told, num_present)
            return self._loaded[space]

    def _flat(self, space: TowerSpace) -> Nearest:
        flat = self._faiss.IndexFlatIP(space.dim)
        kept = [np.empty(0, np.int64)]
        for rows, vectors in self._sound_blocks(space):
            flat.add(vectors)
            kept.append(rows)
        rows = np.concatenate(kept)

        def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
            scores, places = flat.search(query[None], min(k, max(len(rows), 1)))
            found = places[0] >= 0
            return scores[0][found], rows[places[0][found]]

        return nearest

    def _scan(self, space: TowerSpace, num_present: int) -> Nearest:
        codes = np.empty((num_present, space.num_codes * space.dim), np.float32)
        kept = np.empty(num_present, np.int64)
        end = 0
        for rows, vectors in self._sound_blocks(space):
            codes[end : end + len(rows)], kept[end : end + len(rows)] = vectors, rows
            end += len(rows)
        codes, kept = codes[:end], kept[:end]

        def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
            scores, _ = score_rows(codes, query, space)
            best = np.argpartition(-scores, k - 1)[:k] if k < end else np.arange(end)
            best = best[np.lexsort((best, -scores[best]))]
            return scores[best], kept[best]

        return nearest

    def _sound_blocks(self, space: TowerSpace) -> Iterator[tuple[Int64, Float32]]:
        """Give the rows and vectors of documents that are present and undamaged, block by block."""
        for rows, vectors in self._index.blocks(space.name):
            codes = vectors.reshape(len(vectors), space.num_codes, space.dim)
            with np.errstate(all="ignore"):
                squares = np.einsum("nmd,nmd->nm", codes, codes)
                # damaged vectors (NaN, or far too long) would come first; NaN fails the comparison
                good = (np.abs(squares - 1) < _SQUARE_TOLERANCE).all(axis=1)
            yield rows[good], vectors[good]
