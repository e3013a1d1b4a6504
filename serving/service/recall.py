"""Searching a space of the generation that is served now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsearch.errors import DataError, IntegrityError
from mmsearch.index.recall.approximate import ApproximateSearch
from mmsearch.index.recall.files import AnnFile, list_ann
from mmsearch.index.recall.search import ExactSearch, SpaceSearch
from mmsearch.scoring import FeatureScorer
from serving.service.settings import Recall

_log = logging.getLogger(__name__)


class Searcher:
    """Finds the documents of a space nearest to a query, in whatever generation the scorer reads.

    What a search holds in memory is of one generation; the one before is let go when a newer one is searched first.
    A generation beside which no faiss index was built (or one that cannot be used) is searched exactly, and the log
    warns. Safe for threads.

    Args:
        index_dir: the index.
        kind: `exact`, or the faiss index that was built beside each generation.
    """

    def __init__(self, index_dir: Path, kind: Recall) -> None:
        self._index_dir, self._kind = index_dir, kind
        self._lock = threading.Lock()
        self._asked = False
        self._search: tuple[FeatureScorer, SpaceSearch] | None = None
        self._stopgap: list[AnnFile] | None = None

    def find(self, scorer: FeatureScorer, query: str, space: str, k: int) -> list[str]:
        """Give the ids of at most k documents, nearest first; none for a query that says nothing.

        Raises:
            DataError: there is no such space.
            MissingExtraError: faiss is absent.
        """
        self._asked = True
        found, _ = self._of(scorer).search(space, scorer.query_vectors(query, space), k)
        return found

    @property
    def generation(self) -> str | None:
        """The generation that is held, None = none."""
        held = self._search
        return None if held is None else held[0].index.generation

    @property
    def is_stopgap(self) -> bool:
        """Whether a space is searched exactly for want of a faiss index."""
        return self._stopgap is not None

    def renew(self, scorer: FeatureScorer) -> None:
        """Where a faiss index is wanting: look whether something was built meanwhile, and search that."""
        with self._lock:
            stopgap, held = self._stopgap, self._search
            if stopgap is None or held is None or held[0] is not scorer or self._built(scorer) == stopgap:
                return
            self._search = self._stopgap = None
        self._warm(scorer)

    def keep_up(self, scorer: FeatureScorer) -> None:
        """Load what is searched of a new generation, before anybody waits for it; or, where nobody searched the one
        before, only let that go: a follower swaps every few seconds.
        """
        with self._lock:
            held, asked = self._search, self._asked
            if held is not None and held[0] is not scorer:
                self._search, self._stopgap, self._asked = None, None, False
        if asked and held is not None and held[0] is not scorer:
            self._warm(scorer)

    def _warm(self, scorer: FeatureScorer) -> None:
        space = default_space(scorer)
        self._of(scorer).search(space, scorer.query_vectors("a", space), 1)

    def _of(self, scorer: FeatureScorer) -> SpaceSearch:
        with self._lock:
            held = self._search
            if held is not None and held[0] is scorer:
                return held[1]
            self._stopgap = None
            search = self._open(scorer)
            self._search = (scorer, search)
            return search

    def _open(self, scorer: FeatureScorer) -> SpaceSearch:
        if self._kind == "exact":
            return ExactSearch(scorer.index)
        there = self._built(scorer)  # before it is read: what is built from now on is news

        def warn(error: DataError | IntegrityError) -> None:
            if self._stopgap is None:
                _log.warning("%s is searched exactly: %s", scorer.index.generation, error)
            self._stopgap = there

        return ApproximateSearch(scorer.index, self._index_dir, self._kind, on_unbuilt=warn)

    def _built(self, scorer: FeatureScorer) -> list[AnnFile]:
        """Give what was built of this kind from the generation, or from the one that an overlay lies over."""
        built = list_ann(self._index_dir, scorer.index.base or scorer.index.generation)
        return [told for told in built if told.structure.type == self._kind]


def nearest_among(
    scorer: FeatureScorer, query: str, doc_ids: Sequence[str], space: str, k: int, *, deadline_s: float | None = None
) -> list[str]:
    """Give the ids of those k of some documents that are nearest to a query; ties in the order of the ids.

    Documents that the index does not hold are left out, and those without a vector in the space come last. None for a
    query that says nothing.

    Raises:
        DeadlineError: the deadline passed.
    """
    ids = sorted(doc_ids)
    held = [doc_id for doc_id, row in zip(ids, scorer.index.rows(ids), strict=True) if row >= 0]
    values, missing = scorer.score(query, held, deadline_s=deadline_s).column(space)
    if len(held) and missing.all():
        return []
    order = np.lexsort((-values, missing))
    return [held[at] for at in order[:k]]


def default_space(scorer: FeatureScorer) -> str:
    """Give the space that is searched when none is named: `content`, or else the last one.

    Raises:
        DataError: there is none.
    """
    if not scorer.spaces:
        raise DataError("the index has no space")
    return "content" if "content" in scorer.spaces else scorer.spaces[-1]
