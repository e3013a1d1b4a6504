"""How the scores of a feature lie: their distribution for each grade, and the mean grade of each tenth of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.metrics import Scored, Statistic, bootstrap_intervals
from mmsearch.metrics.inputs import Input
from mmsearch.metrics.scored import Float64
from mmsearch.report.slices import Bootstrap

_BINS = 36
_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of the videos of one grade.

    Args:
        grade: the grade.
        num_scored: videos with a score.
        num_missing: videos without one.
        median: of the scores; NaN without any.
        shares: share of the scored videos in each bin.
    """

    grade: int
    num_scored: int
    num_missing: int
    median: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tenth:
    """A tenth of the scored rows, by score: the range of its scores, and the mean grade with its interval."""

    low_score: float
    high_score: float
    mean_grade: float
    low: float
    high: float
    num_rows: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How the scores of a feature lie.

    Args:
        low: lower end of the first bin of the histograms.
        high: upper end of the last.
        histograms: by grade, best first; all have the same bins.
        tenths: lowest scores first; fewer where many scores are equal.
        mean_grade: of all scored rows.
    """

    low: float
    high: float
    histograms: tuple[Histogram, ...]
    tenths: tuple[Tenth, ...]
    mean_grade: float


def spreads(inputs: Sequence[Input], bootstrap: Bootstrap) -> dict[str, Spread]:
    """Give the spread of every feature that has a score."""
    return {one.name: _spread(one.scored, bootstrap) for one in inputs if one.scored.retrieved.any()}


def _spread(scored: Scored, bootstrap: Bootstrap) -> Spread:
    known = scored.scores[scored.retrieved]
    low, high = float(known.min()), float(known.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    histograms = tuple(_histogram(scored, int(grade), edges) for grade in np.unique(scored.grades)[::-1])
    mean_grade = float(scored.grades[scored.retrieved].mean())
    return Spread(low, high, histograms, _tenths(scored, bootstrap), mean_grade)


def _histogram(scored: Scored, grade: int, edges: Float64) -> Histogram:
    own = scored.grades == grade
    scores = scored.scores[own & scored.retrieved]
    counts, _ = np.histogram(scores, edges)
    median = float(np.median(scores)) if len(scores) else float("nan")
    shares = tuple((counts / max(1, len(scores))).tolist())
    return Histogram(grade, len(scores), int(own.sum()) - len(scores), median, shares)


def _tenths(scored: Scored, bootstrap: Bootstrap) -> tuple[Tenth, ...]:
    """Cut the scored rows at the tenths of their scores; the mean grade of each is bootstrapped over queries."""
    rows = scored.retrieved
    scores, grades, query = scored.scores[rows], scored.grades[rows], scored.query[rows]
    bounds = np.unique(np.quantile(scores, np.arange(1, _TENTHS) / _TENTHS))
    part = np.searchsorted(bounds, scores, side="right")
    statistics, ranges = [], []
    for number in np.unique(part):
        inside = part == number
        counts = np.zeros((scored.num_queries, 2))
        np.add.at(counts, query[inside], np.stack([grades[inside], np.ones(inside.sum())], axis=1))
        statistics.append(Statistic("mean grade", counts, _mean, int(counts[:, 1].astype(bool).sum())))
        ranges.append((float(scores[inside].min()), float(scores[inside].max()), int(inside.sum())))
    intervals = bootstrap_intervals(statistics, resamples=bootstrap.resamples, seed=bootstrap.seed)
    return tuple(
        Tenth(low, high, statistic.value, interval.low, interval.high, count)
        for (low, high, count), statistic, interval in zip(ranges, statistics, intervals, strict=True)
    )


def _mean(sums: Float64) -> Float64:
    return np.asarray(np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(1, sums[..., 1]), np.nan), np.float64)
