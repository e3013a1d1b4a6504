"""Validation: PNR of every space and tower on held-out judgments, as it would be served (mean of the codes)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.matching import mean_code
from mmsearch.metrics.pnr import count_pairs, pnr
from mmsearch.metrics.scored import Scored
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import gather, rank, world_size
from training.pairs import Int64, Judged

_log = logging.getLogger(__name__)

_CHUNK = 64
_QUERIES_AT_A_TIME = 512

#: Vectors of videos [V, D] and which are present [V], by space.
Vectors = dict[str, tuple[Tensor, Tensor]]


class Validation:
    """Judged (query, video) rows, scored again and again. The processes of a run share the work.

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
        self._told = False

    @torch.inference_mode()
    def __call__(self, model: MatchModel) -> dict[str, dict[str, float]]:
        """Give `pnr` by `tower/space`; a video without a vector there ranks last. The model is left in eval mode.

        A space where no judged video has a vector has no figure, and is warned of once: all would be tied.
        """
        model.eval()
        vectors = embed_videos(model, self._corpus, self._distinct, self._maker)
        seen = {space: found for space, found in vectors.items() if bool(found[1].any())}
        if not self._told and len(seen) < len(vectors) and rank() == 0:
            _log.warning(
                "no judged video has what is read in %s: no PNR there", ", ".join(vectors.keys() - seen.keys())
            )
        self._told = True
        found: dict[str, float] = {}
        for name, queries in embed_queries(model, self._queries, self._maker).items():
            space = name.partition("/")[2]
            if space in seen:
                found[name] = self._pnr(queries, *seen[space])
        return {"pnr": found}

    def _pnr(self, query: Tensor, video: Tensor, present: Tensor) -> float:
        score = (query[self._query_of] * video[self._place]).sum(-1)
        score = torch.where(present[self._place], score, float("nan")).double().cpu()
        return pnr(count_pairs(self._judged.with_scores(score.numpy())))


def embed_queries(model: MatchModel, queries: Sequence[str], maker: InputMaker) -> dict[str, Tensor]:
    """Give the vectors of queries by `tower/space`, [Q, D]; every process embeds them all."""
    towers = {"teacher": model.teacher, "student": model.student}
    chunks: dict[str, list[Tensor]] = {}
    for start in range(0, len(queries), _QUERIES_AT_A_TIME):
        inputs = maker.queries(queries[start : start + _QUERIES_AT_A_TIME]).to(model.device)
        for name, tower in towers.items():
            for space, vector in tower(inputs.ids, inputs.mask, model.spaces).items():
                chunks.setdefault(f"{name}/{space}", []).append(vector.float())
    return {name: torch.cat(found) for name, found in chunks.items()}


def embed_videos(model: MatchModel, corpus: PreparedCorpus, rows: Int64, maker: InputMaker) -> Vectors:
    """Give the served vectors of rows of a corpus in every space that is trained, on every process.

    The processes embed equal parts (the last rows are embedded twice where they do not divide) and gather them.
    """
    part = -(-len(rows) // world_size())
    own = np.resize(rows, part * world_size())[rank() * part : (rank() + 1) * part]
    chunks = []
    for start in range(0, part, _CHUNK):
        inputs = maker.documents(corpus.read(own[start : start + _CHUNK].tolist())).to(model.device)
        chunks.append(model.document(inputs, model.spaces))
    return {
        space: (
            gather(torch.cat([mean_code(chunk[space].codes.float()) for chunk in chunks]))[: len(rows)],
            gather(torch.cat([chunk[space].present for chunk in chunks]))[: len(rows)],
        )
        for space in model.spaces
    }
