"""Score the candidates of a query: one feature for each space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.index import ForwardIndex
from mmsearch.index.codes import score_rows
from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32, QueryEncoder
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.query_encoder import OnnxQueryEncoder
from mmsearch.scoring.versions import OnMixed, match_versions, refuse_mixed


class FeatureScorer:
    """Rank features of (query, document) pairs, from a forward index and a query encoder of the same model.

    A document of several codes gets one score a space, by the selection that the model was trained with, which
    `query_tower.json` of the generation names. Safe for threads when the encoder is. It stays with the generation that
    it was opened on.

    While a corpus is being embedded anew, a generation may hold vectors of two models (`index.versions`). Each document
    is then scored by the encoder of its own model, or by the newest one where that was trained to find the older
    documents as well. Two models agree on what is near, not on how near: their scores stand in one list as they are.

    Args:
        index: the forward index.
        encoder: makes the query vectors. Of an index of two models: one for each of its versions, in their order, or
            the newest alone.
        encoder_at: what the encoder is and where it lies, for messages.

    Raises:
        FingerprintError: encoder and vectors come from different models; both are named.
        CorruptIndexError: the generation's `query_tower.json` cannot be read.
    """

    def __init__(
        self,
        index: ForwardIndex,
        encoder: QueryEncoder | Sequence[QueryEncoder],
        *,
        encoder_at: str = "the query encoder",
    ) -> None:
        encoders = list(encoder) if isinstance(encoder, Sequence) else [encoder]
        self._versions = match_versions(index, encoders, encoder_at)
        self.index, self.encoder = index, encoders[-1]
        self._encoders: dict[str, QueryEncoder] = {}
        newest_first = (space.name for version in reversed(index.versions) for space in version.spaces)
        self.names = tuple(dict.fromkeys(newest_first))

    @classmethod
    def open(
        cls,
        index_dir: Path | str,
        *,
        num_threads: int = 1,
        on_mixed: OnMixed = "match",
        previous: FeatureScorer | None = None,
    ) -> FeatureScorer:
        """Open the served generation of an index, and the query tower that was published in it.

        Args:
            index_dir: the index.
            num_threads: threads of one query.
            on_mixed: what to do with a generation of two models. `match`: score each document with the query tower of
                its own model, so that both run for every query. `newest`: score all with the newest one, in the
                spaces in which it was trained to find the older documents (`compatible` of `training fit`); in others
                these have no score. `refuse`: raise an error.
            previous: a scorer that was opened on an earlier generation. Query towers whose bytes have not changed since
                are taken from it, with their threads and what they remember: most of the time of opening is saved.

        Raises:
            DataError: nothing was published here.
            IntegrityError: a file is damaged, of a later format, or vectors and tower do not belong together; or the
                generation holds vectors of two models, and `on_mixed` does not allow it.
        """
        index = ForwardIndex.open(index_dir)
        if on_mixed == "refuse":
            refuse_mixed(index)
        versions = index.versions[-1:] if on_mixed == "newest" else index.versions
        loaded = dict(previous._encoders) if previous else {}
        new = [version for version in versions if version.tower_checksum not in loaded]
        if new:
            index.verify_query_tower()
        for version in new:
            loaded[version.tower_checksum] = OnnxQueryEncoder.open(version.query_tower, num_threads=num_threads)
        encoders = {version.tower_checksum: loaded[version.tower_checksum] for version in versions}
        towers = " or ".join(str(version.query_tower) for version in versions)
        each = [encoders[version.tower_checksum] for version in versions]
        scorer = cls(index, each, encoder_at=f"the query tower in {towers}")
        scorer._encoders = encoders
        return scorer

    def score(self, query: str, doc_ids: Sequence[str]) -> RankFeatures:
        """Give the features of every candidate, in the order asked.

        An unknown id, a document without the modality, a damaged vector and a query that says nothing make missing
        features, and never an exception.
        """
        rows = self.index.rows(doc_ids)
        values = np.zeros((len(doc_ids), len(self.names)), np.float32)
        missing = np.ones(values.shape, bool)
        for version in self._versions:
            own = (rows >= version.rows.start) & (rows < version.rows.stop)
            if len(self._versions) == 1:  # rows that are not there (-1) make missing features as well
                own[:] = True
            if not own.any():
                continue
            queries = version.encoder.encode([query])
            for name, space in version.spaces.items():
                at = self.names.index(name)
                values[own, at], missing[own, at] = self._scores(space, queries[name][0], rows[own])
        return RankFeatures(tuple(doc_ids), self.names, values, missing)

    def query_vectors(self, query: str, space: str) -> list[Float32 | None]:
        """Give the vector of a query for each of the index's versions, [D]: what `ExactSearch` is asked with.

        None where a version cannot be scored in this space; zeros where the query says nothing.
        """
        return [
            version.encoder.encode([query])[space][0] if space in version.spaces else None for version in self._versions
        ]

    def _scores(self, space: TowerSpace, query: Float32, rows: npt.NDArray[np.int64]) -> tuple[Float32, Bool]:
        vectors, present = self.index.vectors(space.name, rows)
        scores, sound = score_rows(vectors, query, space)
        good = present & sound & bool(query.any())
        return np.where(good, scores, np.float32(0)), ~good
