"""Score the candidates of a query: one feature for each space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.index import ForwardIndex
from mmsearch.index.codes import score_rows
from mmsearch.index.query_tower import TowerSpace, check_tower_spaces, read_query_tower
from mmsearch.protocols import Bool, Float32, QueryEncoder
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.query_encoder import OnnxQueryEncoder


class FeatureScorer:
    """Rank features of (query, document) pairs, from a forward index and a query encoder of the same model.

    A document of several codes gets one score a space, by the selection that the model was trained with, which
    `query_tower.json` of the generation names. Safe for threads when the encoder is. It stays with the generation that
    it was opened on.

    Args:
        index: the forward index.
        encoder: makes the query vectors.
        encoder_at: what the encoder is and where it lies, for messages.

    Raises:
        FingerprintError: encoder and vectors come from different models; both are named.
        CorruptIndexError: the generation's `query_tower.json` cannot be read.
    """

    def __init__(self, index: ForwardIndex, encoder: QueryEncoder, *, encoder_at: str = "the query encoder") -> None:
        check_tower_spaces(encoder.spaces, index.spaces, encoder_at, f"the index generation {index.generation}")
        self.index, self.encoder = index, encoder
        self.names = tuple(space.name for space in index.spaces)
        self._spaces = {space.name: space for space in read_query_tower(index.query_tower).spaces}

    @classmethod
    def open(cls, index_dir: Path | str, *, num_threads: int = 1) -> FeatureScorer:
        """Open the served generation of an index, and the query tower that was published in it.

        Raises:
            DataError: nothing was published here.
            IntegrityError: a file is damaged, of a later format, or vectors and tower do not belong together.
        """
        index = ForwardIndex.open(index_dir)
        index.verify_query_tower()
        encoder = OnnxQueryEncoder.open(index.query_tower, num_threads=num_threads)
        return cls(index, encoder, encoder_at=f"the query tower in {index.query_tower}")

    def score(self, query: str, doc_ids: Sequence[str]) -> RankFeatures:
        """Give the features of every candidate, in the order asked.

        An unknown id, a document without the modality, a damaged vector and a query that says nothing make missing
        features, and never an exception.
        """
        rows = self.index.rows(doc_ids)
        queries = self.encoder.encode([query])
        values = np.zeros((len(doc_ids), len(self.names)), np.float32)
        missing = np.ones(values.shape, bool)
        for at, name in enumerate(self.names):
            values[:, at], missing[:, at] = self._scores(self._spaces[name], queries[name][0], rows)
        return RankFeatures(tuple(doc_ids), self.names, values, missing)

    def _scores(self, space: TowerSpace, query: Float32, rows: npt.NDArray[np.int64]) -> tuple[Float32, Bool]:
        vectors, present = self.index.vectors(space.name, rows)
        scores, sound = score_rows(vectors, query, space)
        good = present & sound & bool(query.any())
        return np.where(good, scores, np.float32(0)), ~good
