"""Score the candidates of a query: one cosine for each space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.index import ForwardIndex
from mmsearch.index.query_tower import check_tower_spaces
from mmsearch.protocols import Bool, Float32, QueryEncoder
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.query_encoder import OnnxQueryEncoder

#: A cosine of unit vectors beyond this comes from damaged bytes, not from rounding.
_MAX_COSINE = 1.05


class FeatureScorer:
    """Rank features of (query, document) pairs, from a forward index and a query encoder of the same model.

    Safe for threads when the encoder is. It stays with the generation that it was opened on.

    Args:
        index: the forward index.
        encoder: makes the query vectors.
        encoder_at: what the encoder is and where it lies, for messages.

    Raises:
        FingerprintError: encoder and vectors come from different models; both are named.
    """

    def __init__(self, index: ForwardIndex, encoder: QueryEncoder, *, encoder_at: str = "the query encoder") -> None:
        check_tower_spaces(encoder.spaces, index.spaces, encoder_at, f"the index generation {index.generation}")
        self.index, self.encoder = index, encoder
        self.names = tuple(space.name for space in index.spaces)

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
            values[:, at], missing[:, at] = self._cosines(name, queries[name][0], rows)
        return RankFeatures(tuple(doc_ids), self.names, values, missing)

    def _cosines(self, space: str, query: Float32, rows: npt.NDArray[np.int64]) -> tuple[Float32, Bool]:
        vectors, present = self.index.vectors(space, rows)
        with np.errstate(all="ignore"):  # a damaged row may hold anything; its score is thrown away below
            scores = vectors @ query
        # False for NaN: numpy, torch and faiss would all rank it first
        good = present & (np.abs(scores) <= _MAX_COSINE) & bool(query.any())
        return np.where(good, scores, np.float32(0)), ~good
