"""Validation against an old index: what a new query tower is worth before any video is embedded again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.matching import PolySettings, paired_poly_scores
from mmsearch.metrics.pnr import count_pairs, pnr
from mmsearch.metrics.scored import Scored
from mmsearch.models.document import Codes
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from training.old_index import OldIndex
from training.pairs import Judged
from training.validation import embed_queries


class OldValidation:
    """Judged (query, video) rows of which the videos' vectors come from an old index.

    Args:
        corpus: the prepared corpus, for its ids.
        judged: held-out judgments.
        maker: of tensors.
        old: the old index.
    """

    def __init__(self, corpus: PreparedCorpus, judged: Judged, maker: InputMaker, old: OldIndex) -> None:
        self._maker, self._queries = maker, judged.queries
        doc_ids = [corpus.doc_ids[row] for rows in judged.rows for row in rows]
        self._query_of = np.repeat(np.arange(len(judged.queries)), [len(rows) for rows in judged.rows])
        names = [judged.queries[int(i)] for i in self._query_of]
        self._judged = Scored.from_columns(names, doc_ids, np.concatenate(judged.grades), np.zeros(len(doc_ids)))
        found = old.of(doc_ids, [])
        self._codes, self._polies = found.codes, found.polies
        self._bar = {f"old/{space}": self._pnr(q, space) for space, q in old.queries(judged.queries).items()}

    @torch.inference_mode()
    def __call__(self, model: MatchModel) -> dict[str, dict[str, float]]:
        """Give `old_pnr`: by `tower/space` of new queries on old vectors, and by `old/space` what the old query tower
        has on them. A video that the old index lacks ranks last. The model is left in eval mode."""
        model.eval()
        found: dict[str, float] = {}
        for name, queries in embed_queries(model, self._queries, self._maker).items():
            space = name.partition("/")[2]
            if space in self._codes:
                found[name] = self._pnr(queries.cpu(), space)
        return {"old_pnr": found | self._bar}

    def _pnr(self, queries: Tensor, space: str) -> float:
        codes: Codes = self._codes[space]
        poly: PolySettings = self._polies[space]
        scores = paired_poly_scores(queries[self._query_of], codes.codes, poly)
        scores = torch.where(codes.present, scores, float("nan")).double()
        return pnr(count_pairs(self._judged.with_scores(scores.numpy())))
