"""The cross-encoder as reranking runs it: queries and ids of a prepared corpus in, scores out.

Letters: R pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.models.checkpoint import load_model, pick_device
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.protocols import Float32

Int64 = npt.NDArray[np.int64]


class CrossScorer:
    """Scores videos of a corpus for queries, each pair by a pass of the cross-encoder.

    Args:
        model: a model with a cross-encoder, on its device.
        corpus: the prepared corpus that holds the videos.
        maker: of tensors.
        batch_size: pairs at once.

    Raises:
        ConfigError: the model has no cross-encoder, or the corpus was not prepared for the model.

    See also:
        mmsearch.scoring.FeatureScorer: compares vectors, for candidates by the thousand.
    """

    def __init__(self, model: MatchModel, corpus: PreparedCorpus, maker: InputMaker, *, batch_size: int = 64) -> None:
        if model.cross is None:
            raise ConfigError("the model has no cross-encoder; train one (`task: {type: cross}`)")
        model.settings.check_prepared(corpus.settings, corpus.folder)
        self._model, self._corpus, self._maker, self._batch_size = model.eval(), corpus, maker, batch_size

    @classmethod
    def open(
        cls, run: Path | str, corpus: PreparedCorpus | Path | str, device: str = "auto", *, batch_size: int = 64
    ) -> CrossScorer:
        """Read a model folder and a prepared corpus; `auto` takes a GPU where there is one.

        Raises:
            ConfigError: as above.
            DataError: one of the two is not what it should be.
        """
        model, tokenizer = load_model(run, str(pick_device(device)))
        opened = corpus if isinstance(corpus, PreparedCorpus) else PreparedCorpus.open(corpus)
        return cls(model, opened, InputMaker(model.settings, tokenizer), batch_size=batch_size)

    def score(self, query: str, doc_ids: Sequence[str]) -> Float32:
        """Give the scores of videos for a query, in their order; NaN where there is none (see `score_pairs`)."""
        scores = np.full(len(doc_ids), np.nan, np.float32)
        for places, found in self.score_pairs([query] * len(doc_ids), doc_ids):
            scores[places] = found
        return scores

    def score_pairs(self, queries: Sequence[str], doc_ids: Sequence[str]) -> Iterator[tuple[Int64, Float32]]:
        """Give the scores of pairs as they are made: batches of their places and scores, in the order of the corpus.

        A score is any real number, the higher the better; only differences mean something, and only within a query.
        NaN = missing: the video is not in the corpus or has nothing to read, or the tokenizer keeps nothing of the
        query. Every place comes once.

        Args:
            queries: of the pairs, [R].
            doc_ids: of the pairs, [R].
        """
        distinct = {query: number for number, query in enumerate(dict.fromkeys(queries))}
        rows = np.array([self._corpus.row_of.get(doc_id, -1) for doc_id in doc_ids], np.int64)
        query_of = np.array([distinct[query] for query in queries], np.int64)
        blank = self._maker.blank(list(distinct))
        missing = (rows < 0) | blank[query_of] if len(rows) else np.zeros(0, np.bool_)
        if missing.any():
            yield np.flatnonzero(missing), np.full(int(missing.sum()), np.nan, np.float32)
        known = np.flatnonzero(~missing)
        pairs = score_pairs(
            self._model, self._corpus, self._maker, list(distinct), query_of[known], rows[known], self._batch_size
        )
        for places, scores in pairs:
            yield known[places], scores


def score_pairs(
    model: MatchModel,
    corpus: PreparedCorpus,
    maker: InputMaker,
    queries: Sequence[str],
    query_of: Int64,
    rows: Int64,
    batch_size: int = 64,
) -> Iterator[tuple[Int64, Float32]]:
    """Give batches of places and scores of pairs; NaN where a video has nothing to read.

    Pairs are taken in the order of the corpus, so that it is read once from its beginning to its end, and a video that
    many queries found is encoded once or twice.

    Args:
        model: with a cross-encoder; it should be in eval mode.
        corpus: the prepared corpus.
        maker: of tensors.
        queries: distinct queries.
        query_of: number of the query of each pair, [R].
        rows: corpus row of the video of each pair, [R].
        batch_size: pairs at once.
    """
    order = np.argsort(rows, kind="stable")
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        asked, query_at = np.unique(query_of[places], return_inverse=True)
        read, video_at = np.unique(rows[places], return_inverse=True)
        videos = corpus.read(read.tolist())
        with torch.inference_mode():
            scores, present = model.cross_scores(
                maker.queries([queries[number] for number in asked]),
                maker.documents(videos),
                torch.from_numpy(query_at),
                torch.from_numpy(video_at),
            )
            found = torch.where(present, scores.float(), float("nan"))
        yield places, found.cpu().numpy()
