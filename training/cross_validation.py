"""Validation of the cross-encoder: its PNR on held-out judgments."""

from __future__ import annotations

import numpy as np
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.metrics.pnr import count_pairs, pnr
from mmsearch.metrics.scored import Float64, Scored
from mmsearch.models.cross_scorer import score_pairs
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import gather, rank, world_size
from training.pairs import Judged
from training.tasks.cross import FIGURE


class CrossValidation:
    """Judged (query, video) rows, each read by the cross-encoder. The processes of a run share the work.

    Args:
        corpus: the prepared corpus.
        judged: held-out judgments.
        maker: of tensors.
    """

    def __init__(self, corpus: PreparedCorpus, judged: Judged, maker: InputMaker) -> None:
        self._corpus, self._maker, self._queries = corpus, maker, judged.queries
        rows = np.concatenate(judged.rows)
        query_of = np.repeat(np.arange(len(judged.queries)), [len(r) for r in judged.rows])
        order = np.argsort(rows, kind="stable")  # a part of the rows is then of few videos
        self._rows, self._query_of = rows[order], query_of[order]
        self._grades = np.concatenate(judged.grades)[order]

    @torch.inference_mode()
    def __call__(self, model: MatchModel) -> dict[str, dict[str, float]]:
        """Give `pnr` `cross/content`; a video that has nothing to read ranks last. The model is left in eval mode."""
        model.eval()
        part = -(-len(self._rows) // world_size())
        own = slice(rank() * part, (rank() + 1) * part)
        rows, query_of = (np.resize(of, part * world_size())[own] for of in (self._rows, self._query_of))
        found = torch.empty(part)
        for places, scores in score_pairs(model, self._corpus, self._maker, self._queries, query_of, rows):
            found[torch.from_numpy(places)] = torch.from_numpy(scores)
        together = gather(found.to(model.device))[: len(self._rows)].double().cpu()
        return {"pnr": {FIGURE: pnr(count_pairs(self._scored(together.numpy())))}}

    def _scored(self, scores: Float64) -> Scored:
        names = [self._queries[int(i)] for i in self._query_of]
        doc_ids = [self._corpus.doc_ids[row] for row in self._rows]
        return Scored.from_columns(names, doc_ids, self._grades, scores)
