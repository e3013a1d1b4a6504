"""Measures of a table with their intervals: what is printed, written as JSON, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.metrics.measures import Table, compute
from mmsearch.metrics.pnr import ratio
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import Interval, bootstrap_intervals
from mmsearch.metrics.statistic import Statistic


@dataclass(frozen=True, slots=True)
class Pairs:
    """Document pairs of one query with different grades, by how the scores order them."""

    concordant: int
    discordant: int
    tied: int


@dataclass(frozen=True, slots=True)
class Result:
    """A measure: its value, the interval over queries, how many queries had a say, and (PNR) the pairs."""

    name: str
    value: float
    interval: Interval
    num_queries: int
    pairs: Pairs | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All measures of one feature, run or group.

    Args:
        name: of the feature, run or group.
        num_queries: judged queries.
        num_judged: judged rows.
        missing: share of the judged rows without a usable score, 0 to 1.
        results: in the order in which the measures were asked for.
    """

    name: str
    num_queries: int
    num_judged: int
    missing: float
    results: tuple[Result, ...]


def evaluate(name: str, table: Table, measures: Sequence[str], *, resamples: int = 1_000, seed: int = 0) -> Evaluation:
    """Compute measures of one table with their 95 % intervals.

    Args:
        name: what to call it.
        table: the scored judgments.
        measures: names, see `mmsearch.metrics.measures`.
        resamples: bootstrap samples of the queries.
        seed: of the bootstrap.

    Raises:
        ConfigError: a measure is unknown or cannot take these grades.
    """
    statistics = [compute(measure, table) for measure in measures]
    intervals = bootstrap_intervals(statistics, resamples=resamples, seed=seed)
    results = tuple(
        _result(s, i, table.pairs.per_query().astype(np.float64) if s.name.startswith("pnr") else None)
        for s, i in zip(statistics, intervals, strict=True)
    )
    judged = table.scored.judged
    missing = float(np.mean(~table.scored.retrieved[judged])) if judged.any() else 0.0
    return Evaluation(name, table.scored.num_queries, int(judged.sum()), missing, results)


def by_grade(table: Table, *, resamples: int = 1_000, seed: int = 0) -> list[Result]:
    """Give the PNR of every pair of grades, best against next best first; named such as `2>1`."""
    pairs = table.pairs
    statistics = []
    for high, low in sorted(pairs.per_grades(), reverse=True):
        counts = np.zeros((len(pairs.queries), 3))
        rows = (pairs.high == high) & (pairs.low == low)
        np.add.at(counts, pairs.query[rows], pairs.counts[rows])
        statistics.append(Statistic(f"{high}>{low}", counts, ratio, int(counts.any(axis=1).sum())))
    intervals = bootstrap_intervals(statistics, resamples=resamples, seed=seed)
    return [_result(s, i, s.counts) for s, i in zip(statistics, intervals, strict=True)]


def _result(statistic: Statistic, interval: Interval, pairs: Float64 | None) -> Result:
    counted = None if pairs is None else Pairs(*(int(total) for total in pairs.sum(axis=0)))
    return Result(statistic.name, statistic.value, interval, statistic.num_queries, counted)
