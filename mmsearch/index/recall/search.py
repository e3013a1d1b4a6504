"""Recall: the documents of a space nearest to a query vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from mmsearch.errors import DataError
from mmsearch.extras import require
from mmsearch.forks import ForkSafeLock
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.index.recall.nearest import Nearest, best_of_all, flat, scan
from mmsearch.index.version import Version
from mmsearch.protocols import Float32

#: A query vector [D]; where an index holds vectors of several models, one of each, in the order of its `versions`.
QueryVector = Float32 | Sequence[Float32 | None]


class SpaceSearch(ABC):
    """Search one space of a forward index at a time; what a space needs is loaded when it is first searched.

    Args:
        index: the forward index; its generation is searched, whatever is published later.

    Raises:
        MissingExtraError: faiss is absent.
        DataError: a query tower of the generation is not there.
        CorruptIndexError: `query_tower.json` cannot be read.
    """

    def __init__(self, index: ForwardIndex) -> None:
        self._faiss = require("faiss", extra="faiss")
        self._index = index
        self._versions = index.versions
        towers = [read_query_tower(version.query_tower).spaces for version in self._versions]
        self._spaces = [{space.name: space for space in spaces} for spaces in towers]
        self._lock = ForkSafeLock()
        self._loaded: dict[str, list[Nearest | None]] = {}

    def search(self, space: str, query_vector: QueryVector, k: int) -> tuple[list[str], Float32]:
        """Give the documents that score highest, best first.

        Args:
            space: name of the space.
            query_vector: L2-normalised, [D]. A vector of zeros (a query that says nothing) finds nothing. While an
                upgrade is under way, a sequence of them: for each of the index's `versions` the vector of its own query
                tower, None to leave its documents out.
            k: how many at most, at least 1.

        Returns:
            The ids and their scores. Documents without a vector in this space never come back, so there may be
            fewer than k.

        Raises:
            DataError: there is no such space, or the vectors do not fit it.
        """
        if k < 1:
            raise DataError(f"k is {k}; ask for one document or more")
        searches = self._load(space)
        given = [query_vector] if isinstance(query_vector, np.ndarray) else list(query_vector)
        if len(given) != len(searches):
            raise DataError(
                f"{self._index.generation} holds vectors of {len(searches)} models, and {len(given)} query vectors "
                "were given; give one of each"
            )
        parts = []
        for told, nearest, vector in zip(self._spaces, searches, given, strict=True):
            if nearest is not None and vector is not None:
                query = _checked(told[space], vector)
                parts += [nearest(query, k)] if query.any() else []
        scores, rows = best_of_all(parts, k)
        return [self._index.doc_ids[int(row)] for row in rows], scores

    def _load(self, space: str) -> list[Nearest | None]:
        with self._lock:
            if space not in self._loaded:
                self._index.present(space)  # tells of a space that is not there
                self._loaded[space] = [
                    self._nearest(told[space], version) if space in {s.name for s in version.spaces} else None
                    for told, version in zip(self._spaces, self._versions, strict=True)
                ]
            return self._loaded[space]

    @abstractmethod
    def _nearest(self, space: TowerSpace, version: Version) -> Nearest:
        """Give the search of one space among the documents of one version."""

    def _exact(self, space: TowerSpace, rows: range) -> Nearest:
        if space.num_codes == 1:
            return flat(self._faiss, self._index, space, rows)
        return scan(self._index, space, rows)


class ExactSearch(SpaceSearch):
    """Exact search over the vectors of a forward index; scores are those of `FeatureScorer`.

    Where a document has one vector, this is the inner product (faiss `IndexFlatIP`); where it has several codes, every
    document is scored by `score_rows`, so that what is found and in which order is what the selection says. A space
    takes 4 bytes a component, and once more 64k documents while loading. Over 100,000 documents of dimension 256 a
    query takes about 8 ms on one core, with 5 codes a document six times that. Safe for threads.

    See also:
        mmsearch.index.recall.approximate.ApproximateSearch: less work, and now and then a document less.
    """

    def _nearest(self, space: TowerSpace, version: Version) -> Nearest:
        return self._exact(space, version.rows)


def _checked(space: TowerSpace, vector: Float32) -> Float32:
    query = np.ascontiguousarray(vector, dtype=np.float32).reshape(-1)
    if len(query) != space.dim or not np.isfinite(query).all():
        raise DataError(f"space '{space.name}': the query vector must be {space.dim} finite numbers")
    return query
