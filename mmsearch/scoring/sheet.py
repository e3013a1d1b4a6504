"""What is known of one request while it is being scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.protocols import Bool, Float32
from mmsearch.scoring.derived import Derived
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.versions import ScoredVersion

Rows = npt.NDArray[np.int64]
#: Places in a request: all of them, or some.
Places = slice | Rows


class Sheet:
    """The features of one request as they come in; all are missing at first.

    Args:
        query: what was asked.
        doc_ids: the candidates.
        rows: of the candidates, -1 = there is no such document, [N].
        names: the features.
        versions: the models whose vectors are in the index.
    """

    def __init__(
        self,
        query: str,
        doc_ids: Sequence[str],
        rows: Rows,
        names: Sequence[str],
        versions: Sequence[ScoredVersion],
    ) -> None:
        self.query, self.doc_ids, self.rows = query, tuple(doc_ids), rows
        self._at = {name: at for at, name in enumerate(names)}
        self._values = np.zeros((len(names), len(rows)), np.float32)  # features are set one by one
        self._missing = np.ones(self._values.shape, bool)
        #: The spaces that were scored.
        self.scored: set[str] = set()
        #: The models that candidates are of, and which candidates.
        self.parts = self._parts(versions)

    def _parts(self, versions: Sequence[ScoredVersion]) -> list[tuple[ScoredVersion, Places]]:
        if len(versions) == 1:  # unknown candidates too, which are present nowhere
            return [(versions[0], slice(None))] if len(self.rows) else []
        found = ((v, np.flatnonzero((self.rows >= v.rows.start) & (self.rows < v.rows.stop))) for v in versions)
        return [(version, places) for version, places in found if places.size]

    def fill(self, name: str, places: Places, scores: Float32, present: Bool) -> None:
        """Set a feature of some candidates; scores must be 0 where `present` is False."""
        at = self._at[name]
        self._values[at, places] = scores
        self._missing[at, places] = ~present

    def derive(self, derived: Sequence[Derived]) -> None:
        """Set the features that are made of spaces which were scored."""
        for feature in derived:
            if self.scored.issuperset(feature.parts):
                of = [self._at[part] for part in feature.parts]
                scores, missing = feature.combine(self._values[of], self._missing[of])
                self.fill(feature.name, slice(None), scores, ~missing)

    def score_of(self, name: str) -> float | None:
        """Give a feature of the first candidate; None where it is missing."""
        at = self._at[name]
        return None if self._missing[at, 0] else float(self._values[at, 0])

    def features(self, generation: str, *, late: bool) -> RankFeatures:
        """Give what there is."""
        values, missing = (np.ascontiguousarray(array.T) for array in (self._values, self._missing))
        return RankFeatures(self.doc_ids, tuple(self._at), values, missing, generation, late)
