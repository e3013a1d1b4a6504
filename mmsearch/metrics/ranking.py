"""Measures of ranked lists, one value a query: NDCG, average precision, reciprocal rank, recall, precision, ERR, AUC.

What holds for all of them:

- Documents are ranked by score, highest first; equal scores by document id, highest first (code points), as trec_eval
  does. So no measure can gain from the order of a file.
- A document without a usable score was not retrieved: it earns nothing, but counts among those that should have been.
- A document without a judgment is irrelevant and keeps its place; negative grades count as 0.
- A query without a relevant document has no value (NaN) and is left out of means; how many were left is reported.
  Ours: trec_eval lets such a query pull a mean down, whatever the ranking does.
- A judged query that a run leaves out has the value 0 (`trec_eval -c`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsearch.metrics.pnr import count_pairs, pair_accuracy
from mmsearch.metrics.scored import Bools, Float64, Int64, Scored

#: 2^grade must stay well inside a double, and no human scale is longer.
MAX_EXPONENTIAL_GRADE = 60


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows of a table in the order of their ranks.

    Args:
        query: index of the query, never decreasing, [N].
        starts: first row of every query, [Q].
        rank: place in the list of the query, from 1, [N].
        grades: grades, at least 0, [N].
        retrieved: True where the document has a score, [N].
    """

    query: Int64
    starts: Int64
    rank: Int64
    grades: Int64
    retrieved: Bools

    @classmethod
    def of(cls, scored: Scored) -> Ranking:
        """Rank the documents of every query."""
        order = np.lexsort((-_doc_order(scored), -scored.scores, scored.query))
        rank = np.arange(1, len(order) + 1) - scored.starts[scored.query]
        grades = np.maximum(scored.grades[order], 0)
        return cls(scored.query, scored.starts, rank, grades, scored.retrieved[order])

    def sums(self, values: Float64) -> Float64:
        """Add up values of rows for every query, [N] to [Q]."""
        return np.add.reduceat(values, self.starts) if len(values) else np.zeros(0)

    def before(self, values: Float64) -> Float64:
        """Add up the values of the rows above each row in its list, [N] to [N]."""
        running = np.cumsum(values) - values
        return running - running[self.starts][self.query] if len(values) else running

    def within(self, k: int | None) -> Bools:
        """Tell which rows are retrieved among the first `k` (None = anywhere)."""
        return self.retrieved if k is None else self.retrieved & (self.rank <= k)

    def num_relevant(self, relevant: int) -> Float64:
        """Count the relevant documents of every query, retrieved or not; NaN where there is none, [Q]."""
        counts = self.sums((self.grades >= relevant).astype(np.float64))
        return np.where(counts > 0, counts, np.nan)


def _doc_order(scored: Scored) -> Int64:
    """Give numbers that order documents as their ids do; all 0 where no two scores of a query are equal."""
    key = np.empty(len(scored), dtype=np.complex128)
    key.real, key.imag = scored.query, scored.scores
    if len(np.unique(key)) == len(key):
        return np.zeros(len(key), dtype=np.int64)
    place = {name: i for i, name in enumerate(sorted(set(scored.doc_ids)))}
    return np.fromiter((place[name] for name in scored.doc_ids), np.int64, len(scored))


def _ndcg(ranking: Ranking, gains: Float64, k: int | None) -> Float64:
    discounts = 1 / np.log2(ranking.rank + 1)
    reached = ranking.rank <= k if k is not None else np.ones(len(gains), dtype=np.bool_)
    best_first = np.lexsort((-gains, ranking.query))
    ideal = ranking.sums(np.where(reached, gains[best_first] * discounts, 0.0))
    found = ranking.sums(np.where(ranking.within(k), gains * discounts, 0.0))
    return np.where(ideal > 0, found / np.where(ideal > 0, ideal, 1), np.nan)


def _exponential(grades: Int64) -> Float64:
    if len(grades) and grades.max() > MAX_EXPONENTIAL_GRADE:
        raise ValueError(
            f"grade {grades.max()} is too high for the gain 2^grade - 1; use ndcg_linear, or map the grades"
        )
    return np.asarray(np.exp2(grades) - 1, dtype=np.float64)


def ndcg_exp(ranking: Ranking, k: int | None = None) -> Float64:
    """Give NDCG with the gain 2^grade - 1 and the discount 1 / log2(rank + 1), 0 to 1, [Q].

    The gain of Burges et al. 2005 (Learning to rank using gradient descent): the best grade counts far more than the
    others. Normalised by the best order of all judged documents. NaN for a query whose grades are all 0.

    See also:
        ndcg_linear: the gain is the grade itself; the two differ on graded judgments and agree on 0/1.
    """
    return _ndcg(ranking, _exponential(ranking.grades), k)


def ndcg_linear(ranking: Ranking, k: int | None = None) -> Float64:
    """Give NDCG with the gain grade and the discount 1 / log2(rank + 1), 0 to 1, [Q].

    The gain of Järvelin & Kekäläinen 2002 (Cumulated gain-based evaluation of IR techniques) and of trec_eval; the
    paper's discount log_b(rank) starts at rank b, while this one, now usual, discounts from rank 2.
    """
    return _ndcg(ranking, ranking.grades.astype(np.float64), k)


def average_precision(ranking: Ranking, relevant: int = 1, k: int | None = None) -> Float64:
    """Give average precision, 0 to 1, [Q]; its mean over queries is MAP.

    The mean, over all relevant documents, of the precision at the rank of each, 0 for those not retrieved (Voorhees &
    Harman 2005, TREC). With `k`, ranks beyond `k` count as not retrieved; the divisor stays.
    """
    hits = (ranking.within(k) & (ranking.grades >= relevant)).astype(np.float64)
    precision = (ranking.before(hits) + hits) / ranking.rank
    return ranking.sums(hits * precision) / ranking.num_relevant(relevant)


def reciprocal_rank(ranking: Ranking, relevant: int = 1, k: int | None = None) -> Float64:
    """Give 1 / rank of the first relevant document, 0 when none is retrieved (within `k`), [Q]; its mean is MRR."""
    hits = ranking.within(k) & (ranking.grades >= relevant)
    scores = np.where(hits, 1 / ranking.rank, 0.0)
    best = np.maximum.reduceat(scores, ranking.starts) if len(scores) else scores
    return np.where(np.isnan(ranking.num_relevant(relevant)), np.nan, best)


def recall(ranking: Ranking, relevant: int = 1, k: int | None = None) -> Float64:
    """Give the share of the relevant documents that stand among the first `k`, [Q]."""
    hits = ranking.within(k) & (ranking.grades >= relevant)
    return ranking.sums(hits.astype(np.float64)) / ranking.num_relevant(relevant)


def precision(ranking: Ranking, relevant: int = 1, k: int | None = None) -> Float64:
    """Give the share of relevant documents among the first `k`, [Q].

    The divisor is `k` even when the list is shorter (as in trec_eval); without `k` it is the number retrieved.
    """
    hits = ranking.sums((ranking.within(k) & (ranking.grades >= relevant)).astype(np.float64))
    places = np.maximum(1, ranking.sums(ranking.retrieved.astype(np.float64))) if k is None else float(k)
    return np.where(np.isnan(ranking.num_relevant(relevant)), np.nan, hits / places)


def err(ranking: Ranking, k: int | None = None, *, max_grade: int | None = None) -> Float64:
    """Give the expected reciprocal rank, 0 to below 1, [Q].

    Chapelle et al. 2009 (Expected reciprocal rank for graded relevance), a cascade: the searcher stops at a document
    with the chance R = (2^grade - 1) / 2^max_grade, and ERR is the expectation of 1 / rank of the stop.

    Args:
        ranking: the ranked lists.
        k: cut-off.
        max_grade: top of the scale; None = the highest grade in the table. Give it to compare tables.
    """
    top = int(ranking.grades.max(initial=0)) if max_grade is None else max_grade
    if top < ranking.grades.max(initial=0):
        raise ValueError(f"max_grade is {top}, but the table holds grade {ranking.grades.max()}")
    stop = np.where(ranking.retrieved, _exponential(ranking.grades) / np.exp2(top), 0.0)
    reached = np.exp(ranking.before(np.log1p(-stop)))
    gains = np.where(ranking.within(k), stop * reached / ranking.rank, 0.0)
    return np.where(np.isnan(ranking.num_relevant(1)), np.nan, ranking.sums(gains))


def auc(scored: Scored, relevant: int = 1) -> Float64:
    """Give the area under the ROC curve of every query, 0 to 1, [Q].

    The chance that a relevant judged document has a higher score than an irrelevant judged one, ties counting one half
    (Mann-Whitney). NaN for a query whose judged documents are all relevant or all irrelevant.
    """
    grades = np.where(scored.judged, scored.grades >= relevant, scored.grades).astype(np.int64)
    binary = Scored(scored.queries, scored.query, scored.doc_ids, grades, scored.scores)
    return pair_accuracy(count_pairs(binary).per_query().astype(np.float64))
