"""Validation on pairs: each query's own videos against all others of a validation corpus.

Letters: Q queries, V videos, D components.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from mmsearch.metrics.pnr import ratio
from mmsearch.metrics.scored import Float64
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from training.validation import embed_queries, embed_videos

#: Queries that are validated on at most: more only cost time.
_MAX_QUERIES = 2_000
_DEPTH = 10


class PairValidation:
    """Held-out pairs, scored again and again. The processes of a run share the work.

    Args:
        corpus: the prepared validation corpus.
        pairs: (query, doc_id) that belong together; of more than 2,000 queries an even sample is taken.
        maker: of tensors.

    Raises:
        DataError: no pair names a video of the corpus.
    """

    def __init__(self, corpus: PreparedCorpus, pairs: Iterable[tuple[str, str]], maker: InputMaker) -> None:
        self._corpus, self._maker = corpus, maker
        own: dict[str, set[int]] = {}
        for query, doc_id in pairs:
            if doc_id in corpus.row_of:
                own.setdefault(query, set()).add(corpus.row_of[doc_id])
        if not own:
            raise DataError("no pair of val_interactions names a video of the validation corpus")
        every = -(-len(own) // _MAX_QUERIES)
        self._queries = list(own)[::every]
        self._own = torch.zeros(len(self._queries), corpus.num_videos, dtype=torch.bool)
        for place, query in enumerate(self._queries):
            self._own[place, list(own[query])] = True

    @torch.inference_mode()
    def __call__(self, model: MatchModel) -> dict[str, dict[str, float]]:
        """Give `pair_pnr` and `recall@10` by `tower/space`. The model is left in eval mode."""
        model.eval()
        videos = embed_videos(model, self._corpus, np.arange(self._corpus.num_videos), self._maker)
        found: dict[str, dict[str, float]] = {"pair_pnr": {}, f"recall@{_DEPTH}": {}}
        for name, queries in embed_queries(model, self._queries, self._maker).items():
            vectors, present = videos[name.partition("/")[2]]
            scores = queries @ vectors.T
            scores = torch.where(present & ~scores.isnan(), scores, float("-inf")).cpu()
            found["pair_pnr"][name] = float(ratio(count_own_pairs(scores, self._own)))
            found[f"recall@{_DEPTH}"][name] = recall(scores, self._own, _DEPTH)
        return found


def count_own_pairs(scores: Tensor, own: Tensor) -> Float64:
    """Count, over all queries, pairs of an own and another video: concordant, discordant, tied [3].

    Args:
        scores: [Q, V]; -inf = the video has no vector.
        own: True where a video belongs to a query, [Q, V].
    """
    concordant = discordant = tied = 0
    for row, mine in zip(scores.numpy(), own.numpy(), strict=True):
        others, owned = np.sort(row[~mine]), row[mine]
        below = np.searchsorted(others, owned, side="left")
        not_above = np.searchsorted(others, owned, side="right")
        concordant += int(below.sum())
        tied += int((not_above - below).sum())
        discordant += int((len(others) - not_above).sum())
    return np.array([concordant, discordant, tied], np.float64)


def recall(scores: Tensor, own: Tensor, depth: int) -> float:
    """Give the mean share of a query's own videos among its `depth` best; ties count against the own one.

    Args:
        scores: [Q, V]; -inf is never among the best.
        own: True where a video belongs to a query, [Q, V].
        depth: how many are looked at.
    """
    shares = []
    for row, mine in zip(scores, own, strict=True):
        owned = row[mine].unsqueeze(1)
        found = ((row.unsqueeze(0) >= owned).sum(1) <= depth) & owned.squeeze(1).isfinite()
        shares.append(found.float().mean())
    return float(torch.stack(shares).mean())
