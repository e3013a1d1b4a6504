"""Rerank: the best candidates of each query, scored anew by the cross-encoder."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mmsearch.logs import progress
from mmsearch.metrics.join import Scores
from mmsearch.protocols import Float32

_log = logging.getLogger(__name__)


class PairScorer(Protocol):
    """Scores pairs; `mmsearch.models.cross_scorer.CrossScorer` is one."""

    def score_pairs(
        self, queries: Sequence[str], doc_ids: Sequence[str]
    ) -> Iterator[tuple[npt.NDArray[np.int64], Float32]]:
        """Give batches of places and scores of pairs, every place once; NaN where a score is missing."""
        ...


def rerank(candidates: Scores, scorer: PairScorer, top: int) -> Scores:
    """Put the `top` best candidates of each query into the order of a scorer; the others stay below, as they were.

    A candidate that stands twice counts once, as it stood first. Candidates without a (finite) score are the last of
    their query. In the result, rows of a query come together, best first:

    - the top: with the scorer's score; None where that is missing;
    - the others: from one below the lowest of these downwards, equal where their scores were equal; None where they had
      none.

    Args:
        candidates: a run.
        scorer: what scores the pairs.
        top: candidates of a query that are scored anew.
    """
    best = [(query, found[:top], found[top:]) for query, found in _by_query(candidates).items()]
    queries = [query for query, head, _ in best for _ in head]
    doc_ids = [doc_id for _, head, _ in best for doc_id, _ in head]
    scores = np.full(len(queries), np.nan, np.float32)
    with progress("rerank", len(queries), unit="pairs") as bar:
        for places, found in scorer.score_pairs(queries, doc_ids):
            scores[places] = found
            bar.advance(len(places))
    missing = int(np.isnan(scores).sum())
    if missing:
        _log.warning("%d of %d candidates have no score: not in the corpus, or nothing to read", missing, len(scores))
    result, start = Scores([], [], []), 0
    for query, head, tail in best:
        own = scores[start : start + len(head)].tolist()
        start += len(head)
        rows = sorted(((doc_id, s) for (doc_id, _), s in zip(head, own, strict=True)), key=lambda row: _order(row[1]))
        lowest = min((s for s in own if not math.isnan(s)), default=0.0)
        for doc_id, score in [*rows, *_below(tail, lowest)]:
            result.queries.append(query)
            result.doc_ids.append(doc_id)
            result.scores.append(score if math.isfinite(score) else None)
    return result


def _by_query(candidates: Scores) -> dict[str, list[tuple[str, float]]]:
    """Give the candidates of each query, best first; those without a score last, with NaN."""
    found: dict[str, dict[str, float]] = {}
    for query, doc_id, score in zip(candidates.queries, candidates.doc_ids, candidates.scores, strict=True):
        usable = score is not None and math.isfinite(score)
        found.setdefault(query, {}).setdefault(doc_id, score if usable and score is not None else math.nan)
    return {query: sorted(own.items(), key=lambda row: _order(row[1])) for query, own in found.items()}


def _order(score: float) -> tuple[bool, float]:
    return (math.isnan(score), -score)


def _below(tail: Sequence[tuple[str, float]], lowest: float) -> list[tuple[str, float]]:
    """Give candidates, best first, scores below another, in steps of one."""
    steps = {score: step for step, score in enumerate(dict.fromkeys(s for _, s in tail if not math.isnan(s)), 1)}
    return [(doc_id, math.nan if math.isnan(score) else lowest - steps[score]) for doc_id, score in tail]
