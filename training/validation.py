"""Validation: PNR of every space and tower on held-out judgments, as it would be served (mean of the codes)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.matching import mean_code
from mmsearch.metrics.pnr import count_pairs, pnr
from mmsearch.metrics.scored import Scored
from mmsearch.models.inputs import DocumentInputs, InputMaker
from mmsearch.models.match import MatchModel
from training.pairs import Judged

_CHUNK = 64


class Validation:
    """Judged (query, video) rows, scored again and again.

    Args:
        corpus: the prepared corpus.
        judged: held-out judgments.
        maker: of tensors.
    """

    def __init__(self, corpus: PreparedCorpus, judged: Judged, maker: InputMaker) -> None:
        self._corpus, self._maker, self._queries = corpus, maker, judged.queries
        rows = np.concatenate(judged.rows)
        self._distinct, self._place = np.unique(rows, return_inverse=True)
        self._query_of = np.repeat(np.arange(len(judged.queries)), [len(r) for r in judged.rows])
        names = [judged.queries[int(i)] for i in self._query_of]
        doc_ids = [corpus.doc_ids[row] for row in rows]
        self._judged = Scored.from_columns(names, doc_ids, np.concatenate(judged.grades), np.zeros(len(rows)))

    @torch.inference_mode()
    def __call__(self, model: MatchModel) -> dict[str, float]:
        """Give PNR by `tower/space`; a video without a vector there ranks last."""
        was_training = model.training
        model.eval()
        vectors = self._embed_videos(model)
        found: dict[str, float] = {}
        for name, tower in (("teacher", model.teacher), ("student", model.student)):
            inputs = self._maker.queries(self._queries).to(model.device)
            for space, query in tower(inputs.ids, inputs.mask, model.spaces).items():
                found[f"{name}/{space}"] = self._pnr(query, *vectors[space])
        model.train(was_training)
        return found

    def _pnr(self, query: Tensor, video: Tensor, present: Tensor) -> float:
        score = (query[self._query_of] * video[self._place]).sum(-1)
        score = torch.where(present[self._place], score, float("nan")).double().cpu()
        return pnr(count_pairs(self._judged.with_scores(score.numpy())))

    def _embed_videos(self, model: MatchModel) -> dict[str, tuple[Tensor, Tensor]]:
        chunks = [model.document(inputs, model.spaces) for inputs in self._inputs(model.device)]
        return {
            space: (
                torch.cat([mean_code(chunk[space].codes) for chunk in chunks]),
                torch.cat([chunk[space].present for chunk in chunks]),
            )
            for space in model.spaces
        }

    def _inputs(self, device: torch.device) -> Iterator[DocumentInputs]:
        for start in range(0, len(self._distinct), _CHUNK):
            rows = self._distinct[start : start + _CHUNK].tolist()
            yield self._maker.documents(self._corpus.read(rows)).to(device)
