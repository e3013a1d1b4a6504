"""Measures of a table with their intervals: what is printed, written as JSON, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmsearch.metrics.measures import Table, compute
from mmsearch.metrics.pnr import ratio_of_part
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import Interval, bootstrap_intervals, percentile_interval, resample
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


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All measures of one feature, run or group.

    Args:
        name: of the feature, run or group.
        num_queries: judged queries.
        num_judged: judged rows.
        missing: share of the judged rows without a usable score, 0 to 1.
        results: in the order in which the measures were asked for.
        statistics: what each result was computed from.
        samples: each statistic on bootstrap samples of the queries, [resamples] each; equal seeds and judged queries
            give the same samples, so that differences between two evaluations are paired.
    """

    name: str
    num_queries: int
    num_judged: int
    missing: float
    results: tuple[Result, ...]
    statistics: tuple[Statistic, ...] = field(repr=False)
    samples: tuple[Float64, ...] = field(repr=False)

    @property
    def has_scores(self) -> bool:
        """Whether any judged row has a usable score: without one there is nothing to compare."""
        return self.missing < 1


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
    return evaluate_mean(name, [table], measures, resamples=resamples, seed=seed)


def evaluate_mean(
    name: str, tables: Sequence[Table], measures: Sequence[str], *, resamples: int = 1_000, seed: int = 0
) -> Evaluation:
    """Compute measures of several models together, such as fits of several seeds, with their 95 % intervals.

    What a query adds is the mean of what it adds for each model: a mean measure is then the mean over models, and PNR
    is that of all their pairs. Intervals and tests are still over queries, and the models' own luck is averaged out.

    Args:
        name: what to call them.
        tables: the same judgments in the same order, scored by each model; at least one.
        measures: as in `evaluate`, and so are the others.

    Raises:
        ConfigError: a measure is unknown or cannot take these grades.
    """
    statistics = tuple(_mean_of([compute(measure, table) for table in tables]) for measure in measures)
    samples = tuple(resample(statistics, resamples=resamples, seed=seed))
    results = tuple(_result(s, percentile_interval(values)) for s, values in zip(statistics, samples, strict=True))
    scored = [table.scored for table in tables]
    judged = scored[0].judged
    missing = float(np.mean([~one.retrieved[judged] for one in scored])) if judged.any() else 0.0
    return Evaluation(name, scored[0].num_queries, int(judged.sum()), missing, results, statistics, samples)


def _mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Average what each query adds; the pairs of PNR are those of all models."""
    first = statistics[0]
    if len(statistics) == 1:
        return first
    counts = np.mean([one.counts for one in statistics], axis=0)
    pairs = [one.pairs for one in statistics if one.pairs is not None]
    concordant, discordant, tied = (sum(one[i] for one in pairs) for i in range(3))
    return replace(first, counts=counts, pairs=(concordant, discordant, tied) if pairs else None)


def by_grade(table: Table, *, resamples: int = 1_000, seed: int = 0) -> list[Result]:
    """Give the PNR of every pair of grades, best against next best first; named such as `2>1`."""
    pairs = table.pairs
    statistics = []
    for (high, low), totals in sorted(pairs.per_grades().items(), reverse=True):
        counts = np.zeros((len(pairs.queries), 3))
        rows = (pairs.high == high) & (pairs.low == low)
        np.add.at(counts, pairs.query[rows], pairs.counts[rows])
        statistics.append(Statistic(f"{high}>{low}", counts, ratio_of_part, int(counts.any(axis=1).sum()), totals))
    intervals = bootstrap_intervals(statistics, resamples=resamples, seed=seed)
    return [_result(s, i) for s, i in zip(statistics, intervals, strict=True)]


def _result(statistic: Statistic, interval: Interval) -> Result:
    counted = None if statistic.pairs is None else Pairs(*statistic.pairs)
    return Result(statistic.name, statistic.value, interval, statistic.num_queries, counted)
