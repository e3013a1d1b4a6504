"""PNR: the positive-negative ratio of document pairs, our first measure.

Of all pairs of documents of one query with different grades, let P be concordant (the better one has the higher score),
N discordant, and T tied in score. Pooled over the queries,

    PNR = (P + T/2) / max(1, N + T/2)

This is the rule of the public script of the CBVS short-video search benchmark (arXiv:2401.10475), whose `skip` is our
`min_gap - 1`. 1 is chance, higher is better, and there is no upper bound: P when nothing is wrong. Unlike NDCG it sees
the whole list and needs no choice of gain or discount.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmsearch.metrics.pair_counts import count_lists
from mmsearch.metrics.scored import Float64, Int64, Scored

Ties = Literal["half", "ignore", "discordant"]
Weights = Literal["none", "grade_gap"]
Average = Literal["pooled", "macro"]

#: Grades up to here are looked up in a table; higher ones, which no human gives, are sorted.
MAX_TABLED_GRADE = 65_534


@dataclass(frozen=True, eq=False)
class PnrCounts:
    """Exact pair counts by query and by pair of grades; they add up over shards that hold different queries.

    Args:
        queries: every judged query, with or without pairs, [Q].
        query: index into `queries`, [R].
        high: the better grade of the pairs of this row, [R].
        low: the worse grade, [R].
        counts: concordant, discordant and tied pairs, [R, 3].
    """

    queries: tuple[str, ...]
    query: Int64
    high: Int64
    low: Int64
    counts: Int64

    def select(self, *, min_gap: int = 1) -> PnrCounts:
        """Keep the pairs whose grades are at least `min_gap` apart."""
        keep = self.high - self.low >= min_gap
        return PnrCounts(self.queries, self.query[keep], self.high[keep], self.low[keep], self.counts[keep])

    def per_query(self, weights: Weights = "none") -> Int64:
        """Give concordant, discordant and tied pairs of every query, [Q, 3]; `grade_gap` counts a pair once a grade."""
        sums = np.zeros((len(self.queries), 3), dtype=np.int64)
        gap = (self.high - self.low)[:, None] if weights == "grade_gap" else 1
        np.add.at(sums, self.query, self.counts * gap)
        return sums

    def per_grades(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """Give concordant, discordant and tied pairs by (better grade, worse grade), over all queries."""
        pairs, at = np.unique(np.stack([self.high, self.low], axis=1), axis=0, return_inverse=True)
        sums = np.zeros((len(pairs), 3), dtype=np.int64)
        np.add.at(sums, at.reshape(-1), self.counts)
        return {(int(h), int(w)): (int(p), int(n), int(t)) for (h, w), (p, n, t) in zip(pairs, sums, strict=True)}

    @property
    def totals(self) -> tuple[int, int, int]:
        """Concordant, discordant and tied pairs over all queries."""
        concordant, discordant, tied = self.counts.sum(axis=0)
        return int(concordant), int(discordant), int(tied)


def merge_counts(shards: Iterable[PnrCounts]) -> PnrCounts:
    """Add the counts of shards. A query that stands in several is one query in the result; its pairs across shards are
    in no shard, so put whole queries into one shard."""
    codes: dict[str, int] = {}
    parts = list(shards)
    queries = [np.array([codes.setdefault(q, len(codes)) for q in part.queries], np.int64) for part in parts]
    renumbered = [
        (code[part.query], part.high, part.low, part.counts) for code, part in zip(queries, parts, strict=True)
    ]
    return _stacked(tuple(codes), renumbered)


def _stacked(queries: tuple[str, ...], parts: list[tuple[Int64, Int64, Int64, Int64]]) -> PnrCounts:
    none = np.zeros(0, np.int64)
    columns = zip((none, none, none, np.zeros((0, 3), np.int64)), *parts, strict=True)
    return PnrCounts(queries, *(np.concatenate(column) for column in columns))


def count_pairs(scored: Scored) -> PnrCounts:
    """Count the pairs of every query: exact whole numbers, no pair is ever formed.

    Every list is sorted by score; for a worse grade, the running number of documents that have it tells for any other
    document how many of them it beats. Groups of equal scores, where there are any, are counted apart. Unjudged rows
    are not counted; unscored rows are tied among themselves and below all others; repeated rows count each time.

    Cost: O(N log N + N * G) for N rows and G different grades; memory O(N), whatever the lengths of the lists.
    """
    judged = scored.judged
    if judged.all():
        query, grades, scores = scored.query, scored.grades, scored.scores
    else:
        query, grades, scores = scored.query[judged], scored.grades[judged], scored.scores[judged]
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    levels, codes = _coded(grades)
    own = query[starts]
    parts = [
        (own[lists], levels[high], levels[low], counts)
        for lists, high, low, counts in count_lists(codes, scores, starts, len(levels))
    ]
    return _stacked(scored.queries, parts)


def _coded(grades: Int64) -> tuple[Int64, npt.NDArray[np.unsignedinteger]]:
    """Give the different grades in order, [G], and the place of every row's grade among them, [N]."""
    if int(grades.max(initial=0)) > MAX_TABLED_GRADE:
        levels, codes = np.unique(grades, return_inverse=True)
        return levels, codes.astype(np.min_scalar_type(len(levels)))
    levels = np.flatnonzero(np.bincount(grades)).astype(np.int64)
    code_of = np.zeros(int(levels[-1]) + 1 if len(levels) else 1, dtype=np.min_scalar_type(len(levels)))
    code_of[levels] = np.arange(len(levels))
    return levels, code_of[grades]


def ratio(sums: Float64, ties: Ties = "half") -> Float64:
    """Give the PNR of concordant, discordant and tied pairs, [..., 3] to [...]. Without any pair it is 0, as in the
    public script; the measure `pnr` is then undefined, see `ratio_of_part`.

    Ties: `half` is the public rule; `ignore` leaves them out; `discordant` counts them as wrong, so that a model that
    gives the same score to all gets 0 instead of 1.
    """
    concordant, discordant, tied = sums[..., 0], sums[..., 1], sums[..., 2]
    if ties == "half":
        concordant, discordant = concordant + tied / 2, discordant + tied / 2
    elif ties == "discordant":
        discordant = discordant + tied
    return np.asarray(concordant / np.maximum(1, discordant), dtype=np.float64)


def ratio_of_part(sums: Float64, ties: Ties = "half") -> Float64:
    """Give the PNR of some pairs, [..., 3] to [...]; unlike `ratio`, NaN without any pair.

    A bootstrap sample that happens to draw none of a small part is then left out of its interval, and is no bad one.
    """
    return np.where(sums.sum(axis=-1) > 0, ratio(sums, ties), np.nan)


def pair_accuracy(sums: Float64, ties: Ties = "half") -> Float64:
    """Give the share of pairs in the right order, 0 to 1, [..., 3] to [...]; NaN without a pair that counts.

    With `half` and two grades this is the AUC; (1 + Kendall's tau) / 2 where no scores are tied.
    """
    concordant, discordant, tied = sums[..., 0], sums[..., 1], sums[..., 2]
    right = concordant + tied / 2 if ties == "half" else concordant
    pairs = concordant + discordant if ties == "ignore" else concordant + discordant + tied
    return np.asarray(np.where(pairs > 0, right / np.maximum(1, pairs), np.nan), dtype=np.float64)


def pnr(
    counts: PnrCounts,
    *,
    ties: Ties = "half",
    min_gap: int = 1,
    weights: Weights = "none",
    average: Average = "pooled",
) -> float:
    """Give one number for a table of pair counts.

    Args:
        counts: what `count_pairs` gives.
        ties: what a pair tied in score counts for, see `ratio`.
        min_gap: only pairs whose grades are at least so far apart.
        weights: `grade_gap` weighs a pair by the difference of its grades.
        average: `pooled` sums the pairs of all queries, so that long lists weigh more; it is 0 without a pair. `macro`
            is the mean of `pair_accuracy` over the queries that have a pair (a ratio has no useful mean: it is
            unbounded), NaN without one.
    """
    per_query = counts.select(min_gap=min_gap).per_query(weights).astype(np.float64)
    if average == "pooled":
        return float(ratio(per_query.sum(axis=0), ties))
    accuracies = pair_accuracy(per_query, ties)
    defined = np.isfinite(accuracies)
    return float(accuracies[defined].mean()) if defined.any() else float("nan")
