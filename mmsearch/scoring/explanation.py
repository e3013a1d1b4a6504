"""Why a document gets the scores that it gets: for people who look at one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from mmsearch.errors import CorruptIndexError
from mmsearch.index import ForwardIndex
from mmsearch.protocols import Float32
from mmsearch.scoring.derived import Derived
from mmsearch.scoring.matches import Matches
from mmsearch.scoring.query_encoder import OnnxQueryEncoder
from mmsearch.scoring.sheet import Sheet
from mmsearch.scoring.versions import ScoredVersion
from mmsearch.text import TextTokens
from mmsearch.types import Modality


class WhyMissing(StrEnum):
    """Why a feature has no value. Of several reasons, the first of these is told."""

    UNKNOWN = "unknown document"
    DELETED = "deleted"
    LATE = "late"
    SAYS_NOTHING = "the query says nothing"
    ANOTHER_MODEL = "another model"
    DAMAGED = "damaged"
    NO_MODALITY = "no modality"


@dataclass(frozen=True, slots=True)
class CodeScore:
    """A code of a document: its cosine with the query, and what it counts for in the score."""

    score: float
    weight: float


@dataclass(frozen=True, slots=True)
class FeatureExplanation:
    """A feature of one document.

    Args:
        name: of the feature.
        score: what `FeatureScorer.score` gives; None where it is missing.
        why_missing: why there is no score; of a feature that is derived from others, why they are missing. `deleted`
            is known of documents that were deleted since the base of the index was published; older ones are unknown.
        fingerprint: of the model that made the document's vectors in this space; None for features that are derived
            from several, and where the document has no such space.
        codes: the document's codes; the score is the sum of their scores times their weights. Empty where there are
            none, or where the feature is derived from several spaces.
    """

    name: str
    score: float | None
    why_missing: WhyMissing | None
    fingerprint: str | None
    codes: tuple[CodeScore, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query and a document meet.

    Args:
        query: what was asked.
        doc_id: the document.
        generation: of the index that answered.
        tokens: what the query tower reads of the query, as it stands in the vocabulary; empty where the encoder does
            not tell.
        truncated: whether the query goes on after them.
        modalities: which ones the document has, of those of which that is known: all where the index holds hashes of
            them, or else those that have a space of their own (`content.title` …); None where nothing is known.
        features: in the order of `FeatureScorer.names`.
    """

    query: str
    doc_id: str
    generation: str
    tokens: tuple[str, ...]
    truncated: bool
    modalities: Mapping[Modality, bool] | None
    features: tuple[FeatureExplanation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as what JSON holds."""
        features = [
            {
                "name": feature.name,
                "score": feature.score,
                "why_missing": None if feature.why_missing is None else feature.why_missing.value,
                "fingerprint": feature.fingerprint,
                "codes": [{"score": code.score, "weight": code.weight} for code in feature.codes],
            }
            for feature in self.features
        ]
        modalities = None if self.modalities is None else {m.value: there for m, there in self.modalities.items()}
        return {
            "query": self.query,
            "doc_id": self.doc_id,
            "generation": self.generation,
            "tokens": list(self.tokens),
            "truncated": self.truncated,
            "modalities": modalities,
            "features": features,
        }


class Explainer:
    """Explains the one document of a sheet that was filled.

    Args:
        index: the forward index.
        newest: the newest version, whose encoder reads the queries of unknown documents.
        sheet: of one request for one document.
    """

    def __init__(self, index: ForwardIndex, newest: ScoredVersion, sheet: Sheet) -> None:
        self._index, self._sheet = index, sheet
        self._known = bool(sheet.rows[0] >= 0)
        self._version = sheet.parts[0][0] if sheet.parts else newest
        self._vectors = self._version.encoder.encode([sheet.query])

    def explain(self, spaces: Sequence[str], poly: Mapping[str, str], derived: Sequence[Derived]) -> Explanation:
        """Explain all features: of the spaces, of those with a poly score, and those that are derived from several."""
        (doc_id,) = self._sheet.doc_ids
        features = [self._of_space(name) for name in spaces]
        features += [self._of_space(space, poly=name) for space, name in poly.items()]
        why = {feature.name: feature.why_missing for feature in features}
        features += [self._of_parts(feature, why) for feature in derived]
        tokens = self._tokens()
        return Explanation(
            self._sheet.query, doc_id, self._index.generation, tokens.tokens, tokens.truncated, self._modalities(),
            tuple(features),
        )  # fmt: skip

    def _of_space(self, name: str, *, poly: str | None = None) -> FeatureExplanation:
        feature, score = poly or name, self._sheet.score_of(poly or name)
        space = self._version.spaces.get(name)
        fingerprint = space.fingerprint if space and self._known else None
        if score is None or space is None:
            return FeatureExplanation(feature, None, self._why(name), fingerprint, ())
        matches = Matches.of(self._index, space, self._sheet.rows, self._query(name))
        pairs = zip(matches.dots[0].tolist(), matches.weights(poly=poly is not None)[0].tolist(), strict=True)
        return FeatureExplanation(feature, score, None, fingerprint, tuple(CodeScore(*pair) for pair in pairs))

    def _of_parts(self, feature: Derived, why: Mapping[str, WhyMissing | None]) -> FeatureExplanation:
        score = self._sheet.score_of(feature.name)
        reasons = {why[part] for part in feature.parts} - {None}
        reason = min(filter(None, reasons), key=list(WhyMissing).index) if score is None else None
        return FeatureExplanation(feature.name, score, reason, None, ())

    def _why(self, name: str) -> WhyMissing:
        rows = self._sheet.rows
        if not self._known:
            deleted = self._index.deleted(self._sheet.doc_ids)[0]
            return WhyMissing.DELETED if deleted else WhyMissing.UNKNOWN
        if name not in self._sheet.scored:
            return WhyMissing.LATE
        if name not in self._version.spaces:
            return WhyMissing.ANOTHER_MODEL
        if not self._query(name).any():
            return WhyMissing.SAYS_NOTHING
        if not self._index.sound(name, rows)[0] or self._index.vectors(name, rows)[1][0]:
            return WhyMissing.DAMAGED  # a checksum tells, or what it is scored as
        return WhyMissing.NO_MODALITY

    def _query(self, name: str) -> Float32:
        vector: Float32 = self._vectors[name][0]
        return vector

    def _modalities(self) -> dict[Modality, bool] | None:
        if not self._known:
            return None
        try:
            hashes = self._index.contents(self._sheet.rows)[0]
        except CorruptIndexError:  # costs the next refresh time, and no score
            hashes = np.zeros(0)
        if np.any(hashes):
            return dict(zip(Modality, (hashes != 0).tolist(), strict=False))
        single = {modality: f"content.{modality}" for modality in Modality}
        rows = self._sheet.rows
        there = {
            modality: bool(self._index.vectors(space, rows)[1][0])
            for modality, space in single.items()
            if space in self._version.spaces and self._index.sound(space, rows)[0]
        }
        return there or None

    def _tokens(self) -> TextTokens:
        encoder = self._version.encoder
        return encoder.read(self._sheet.query) if isinstance(encoder, OnnxQueryEncoder) else TextTokens((), False)
