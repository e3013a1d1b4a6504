"""Approximate recall: candidates from a faiss index, scored anew with the vectors of the forward index."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmsearch.errors import DataError, IntegrityError
from mmsearch.extras import require
from mmsearch.index.codes import score_rows
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace
from mmsearch.index.recall.device import Device, to_gpu
from mmsearch.index.recall.files import load_ann
from mmsearch.index.recall.nearest import Int64, Nearest, best_of, merged
from mmsearch.index.recall.search import SpaceSearch
from mmsearch.index.recall.settings import Structure
from mmsearch.index.recall.structure import parameters
from mmsearch.index.version import Version
from mmsearch.protocols import Float32

#: How many times as many candidates the next look takes, when too many of the first were of dead documents.
_WIDER = 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """A faiss index; the id of a vector is its document's row times the number of codes, plus its code."""

    built: Any
    structure: Structure
    overfetch: float

    def find(self, query: Float32, num: int) -> Int64:
        """Give the ids of about `num` vectors near to a query, [up to num]; safe for threads."""
        told = parameters(require("faiss", extra="faiss"), self.structure, num)
        _, ids = self.built.search(query[None], num, params=told)
        found: Int64 = ids[0][ids[0] >= 0]
        return found


def nearest_of(index: ForwardIndex, space: TowerSpace, candidates: Candidates) -> Nearest:
    """Search by candidates; dead documents and damaged vectors never come back.

    Args:
        index: gives the vectors that candidates are scored with. Its rows begin with those that the candidates are of.
        space: the space.
        candidates: what finds them.
    """
    alive = index.present(space.name)
    total = int(candidates.built.ntotal)

    def nearest(query: Float32, k: int) -> tuple[Float32, Int64]:
        num = min(math.ceil(k * candidates.overfetch) * space.num_codes, total)
        while True:
            rows = np.unique(candidates.find(query, num) // space.num_codes) if num else np.empty(0, np.int64)
            rows = rows[alive[rows]]
            vectors, present = index.vectors(space.name, rows)
            scores, sound = score_rows(vectors, query, space)
            good = present & sound
            if np.count_nonzero(good) >= k or num >= total:
                return best_of(scores[good], rows[good], k)
            num = min(num * _WIDER, total)

    return nearest


class ApproximateSearch(SpaceSearch):
    """Approximate search by faiss indexes that `build_ann` built beside the generation.

    Scores are those of `ExactSearch` and `FeatureScorer`; what may lack is a document, as often as the measured recall
    of the faiss index says. Of an overlay, the base is searched by faiss and the rest exactly, so that a changed or
    deleted video counts at once. Safe for threads.

    Args:
        index: the forward index.
        index_dir: where it lies.
        kind: what was built: `flat`, `hnsw` or `ivf_pq`.
        device: where flat and ivf_pq are searched.
        on_unbuilt: told why the faiss index of a space cannot be used, when that is first searched: nothing was built,
            or it is damaged or of other vectors. The space is searched exactly then. None = that is raised.

    Raises:
        MissingExtraError: faiss is absent.
        DataError: the query tower of the generation is not there; when a space is first searched: nothing was built.
        CorruptIndexError: `query_tower.json` cannot be read; when a space is first searched: the faiss index is
            damaged or of other vectors.
    """

    def __init__(
        self,
        index: ForwardIndex,
        index_dir: Path | str,
        kind: Literal["flat", "hnsw", "ivf_pq"] = "hnsw",
        *,
        device: Device = "auto",
        on_unbuilt: Callable[[DataError | IntegrityError], None] | None = None,
    ) -> None:
        super().__init__(index)
        self._index_dir, self._kind, self._device = Path(index_dir), kind, device
        self._on_unbuilt = on_unbuilt

    def _nearest(self, space: TowerSpace, version: Version) -> Nearest:
        if version.rows.start:  # an overlay with a model of its own
            return self._exact(space, version.rows)
        base = self._base()
        try:
            told, built = load_ann(self._index_dir, base.generation, space.name, self._kind, space.fingerprint)
        except (DataError, IntegrityError) as error:
            if self._on_unbuilt is None:
                raise
            self._on_unbuilt(error)
            return self._exact(space, version.rows)
        built = to_gpu(self._faiss, built, self._kind, self._device)
        found = nearest_of(self._index, space, Candidates(built, told.structure, told.overfetch))
        rest = range(base.num_rows, version.rows.stop)
        return merged(found, self._exact(space, rest)) if rest else found

    def _base(self) -> ForwardIndex:
        base = self._index.base
        return self._index if base is None else ForwardIndex.open(self._index_dir, base)
