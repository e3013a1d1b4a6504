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

from mmsearch.metrics.scored import Float64, Int64, Scored

Ties = Literal["half", "ignore", "discordant"]
Weights = Literal["none", "grade_gap"]
Average = Literal["pooled", "macro"]


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

    Rows are sorted once by query and score. For a grade `low`, the running number of rows with it tells for any other
    row how many of them in its query have a lower score, the same, or a higher one: two look-ups each. Unjudged rows
    are not counted; unscored rows are tied among themselves and below all others; repeated rows count each time.

    Cost: O(N log N + N * G) for N rows and G different grades; memory O(N).
    """
    judged = scored.judged
    query, grades, scores = scored.query[judged], scored.grades[judged], scored.scores[judged]
    order = _order(query, scores)
    query, grades, scores = query[order], grades[order], scores[order]
    new_query = np.diff(query, prepend=-1) > 0
    new_score = new_query.copy()
    new_score[1:] |= scores[1:] != scores[:-1]
    query_range, score_range = _ranges(new_query), _ranges(new_score)
    levels = np.unique(grades)
    rows_of = {int(level): np.flatnonzero(grades == level) for level in levels}
    found: list[tuple[Int64, Int64, Int64, Int64]] = []
    for low in levels[:-1]:
        below = np.zeros(len(grades) + 1, dtype=np.int64)
        np.cumsum(grades == low, out=below[1:])
        for high in levels[levels > low]:
            queries, sums = _pairs(rows_of[int(high)], query, below, query_range, score_range)
            found.append((queries, np.full(len(queries), high), np.full(len(queries), low), sums))
    return _stacked(scored.queries, found)


def _order(query: Int64, scores: Float64) -> Int64:
    """Order rows by query, then score. NumPy orders complex numbers so, four times as fast as `lexsort`."""
    key = np.empty(len(query), dtype=np.complex128)
    key.real, key.imag = query, scores
    return np.argsort(key)


def _ranges(is_first: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Int64, Int64]:
    """Give for every row the start and the end of the run that it is in."""
    starts = np.flatnonzero(is_first)
    lengths = np.diff(starts, append=len(is_first))
    return np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)


def _pairs(
    rows: Int64, query: Int64, below: Int64, query_range: tuple[Int64, Int64], score_range: tuple[Int64, Int64]
) -> tuple[Int64, Int64]:
    """Count, for the rows of the better grade, the rows of the worse one; give the queries, [R], and counts, [R, 3]."""
    lowest, highest = below[query_range[0][rows]], below[query_range[1][rows]]
    lower, upper = below[score_range[0][rows]], below[score_range[1][rows]]
    own = query[rows]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    columns = (lower - lowest, highest - upper, upper - lower)
    sums = np.stack([np.add.reduceat(column, starts) for column in columns], axis=1)
    some = sums.any(axis=1)
    return own[starts][some], sums[some]


def ratio(sums: Float64, ties: Ties = "half") -> Float64:
    """Give the PNR of concordant, discordant and tied pairs, [..., 3] to [...]. Without any pair it is 0.

    Ties: `half` is the public rule; `ignore` leaves them out; `discordant` counts them as wrong, so that a model that
    gives the same score to all gets 0 instead of 1.
    """
    concordant, discordant, tied = sums[..., 0], sums[..., 1], sums[..., 2]
    if ties == "half":
        concordant, discordant = concordant + tied / 2, discordant + tied / 2
    elif ties == "discordant":
        discordant = discordant + tied
    return np.asarray(concordant / np.maximum(1, discordant), dtype=np.float64)


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
        average: `pooled` sums the pairs of all queries, so that long lists weigh more; `macro` is the mean of
            `pair_accuracy` over the queries that have a pair (a ratio has no useful mean: it is unbounded), NaN
            without one.
    """
    per_query = counts.select(min_gap=min_gap).per_query(weights).astype(np.float64)
    if average == "pooled":
        return float(ratio(per_query.sum(axis=0), ties))
    accuracies = pair_accuracy(per_query, ties)
    defined = np.isfinite(accuracies)
    return float(accuracies[defined].mean()) if defined.any() else float("nan")
