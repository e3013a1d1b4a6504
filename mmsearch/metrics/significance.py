"""How sure is a number: bootstrap intervals, comparisons of two systems, and many comparisons at once.

The query is the unit of chance: queries are drawn again with all their documents, since documents of one query are not
independent (Sakai 2006, Evaluating evaluation metrics based on the bootstrap; Smucker, Allan & Carterette 2007, A
comparison of statistical significance tests for information retrieval evaluation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.metrics.scored import Float64
from mmsearch.metrics.statistic import Statistic

#: Cells of the weight matrix held at a time (8 bytes each).
_BLOCK_CELLS = 4_000_000
#: Standard errors between 0 and a difference found with power 0.8 at level 0.05: the 97.5 % and 80 % points, added.
_POWER_80 = 1.959964 + 0.841621


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system against another on the same queries: a minus b, its interval, and the chance of it by luck."""

    difference: float
    interval: Interval
    p_value: float


def _weights(num_queries: int, resamples: int, seed: int) -> Iterator[Float64]:
    """Give how often each query is drawn in each resample, in blocks, [B, Q]; rows add up to Q."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // max(1, num_queries))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(num_queries, size=(rows, num_queries)) + np.arange(rows)[:, None] * num_queries
        yield np.bincount(drawn.ravel(), minlength=rows * num_queries).reshape(rows, num_queries).astype(np.float64)


def resample(statistics: Sequence[Statistic], *, resamples: int = 1_000, seed: int = 0) -> list[Float64]:
    """Give every statistic on bootstrap samples of the queries.

    All statistics see the same samples, so that their differences are paired.

    Args:
        statistics: measures over the same queries in the same order.
        resamples: number of samples.
        seed: of the random numbers; the same seed and number of queries give the same samples.

    Returns:
        For every statistic its values, [resamples].

    Raises:
        ValueError: the statistics are over different numbers of queries.
    """
    sizes = {len(statistic.counts) for statistic in statistics}
    if len(sizes) > 1:
        raise ValueError(f"the statistics are over different queries ({sorted(sizes)}); align them first")
    num_queries = sizes.pop() if sizes else 0
    if num_queries == 0:
        return [np.full(resamples, np.nan) for _ in statistics]
    table = np.concatenate([statistic.counts for statistic in statistics], axis=1)
    sums = np.concatenate([weights @ table for weights in _weights(num_queries, resamples, seed)])
    ends = np.cumsum([statistic.counts.shape[1] for statistic in statistics])
    parts = np.split(sums, ends[:-1], axis=1)
    return [statistic.combine(part) for statistic, part in zip(statistics, parts, strict=True)]


def percentile_interval(values: Float64, level: float = 0.95) -> Interval:
    """Give the middle `level` of resampled values; NaNs are left out, and both ends are NaN when nothing is left."""
    defined = values[np.isfinite(values)]
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap_intervals(
    statistics: Sequence[Statistic], *, level: float = 0.95, resamples: int = 1_000, seed: int = 0
) -> list[Interval]:
    """Give the percentile bootstrap interval of every statistic (Efron & Tibshirani 1993, chapter 13)."""
    return [percentile_interval(values, level) for values in resample(statistics, resamples=resamples, seed=seed)]


def paired_bootstrap(
    a: Statistic, b: Statistic, *, level: float = 0.95, resamples: int = 1_000, seed: int = 0
) -> Comparison:
    """Compare two systems on the same queries by drawing queries again.

    The p-value is two-sided: twice the share of samples in which the difference has the other sign or is 0, with one
    sample added so that it is never 0. An interval is what this is good for; `randomisation_test` is the better test.

    Raises:
        ValueError: the two are over different numbers of queries.
    """
    of_a, of_b = resample([a, b], resamples=resamples, seed=seed)
    differences = of_a - of_b
    return Comparison(a.value - b.value, percentile_interval(differences, level), bootstrap_p_value(differences))


def bootstrap_p_value(differences: Float64) -> float:
    """Give twice the share of resampled differences of the rarer sign (0 counts for both), one sample added."""
    defined = differences[np.isfinite(differences)]
    tail = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (tail + 1) / (len(defined) + 1))


def randomisation_test(a: Statistic, b: Statistic, *, permutations: int = 10_000, seed: int = 0) -> float:
    """Give the two-sided p-value of Fisher's randomisation test.

    If the two systems did not differ, swapping their results on any query would change nothing: the p-value is the
    share of random swaps whose difference is at least as large as the one found, the found one included.

    Args:
        a: a measure of one system.
        b: the same measure of the other, over the same queries in the same order.
        permutations: number of random swaps.
        seed: of the random numbers.

    Raises:
        ValueError: the two are over different numbers of queries.

    See also:
        randomisation_tests: many pairs and measures with the same swaps.
    """
    return randomisation_tests([[a], [b]], [(0, 1)], permutations=permutations, seed=seed)[0][0]


def randomisation_tests(
    systems: Sequence[Sequence[Statistic]],
    pairs: Sequence[tuple[int, int]],
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> list[list[float]]:
    """Give `randomisation_test` of many pairs of systems by many measures.

    All tests see the same swaps: the cost is one matrix product for all systems, whatever the number of pairs.

    Args:
        systems: the measures of every system, the same ones in the same order, over the same queries.
        pairs: which systems are compared, by their places.
        permutations: number of random swaps.
        seed: of the random numbers.

    Returns:
        For every pair its p-value by every measure.

    Raises:
        ValueError: the systems are over different numbers of queries.
    """
    if len({statistic.counts.shape[0] for system in systems for statistic in system}) > 1:
        raise ValueError("the statistics are over different queries; align them first")
    table = np.concatenate([statistic.counts for system in systems for statistic in system], axis=1)
    totals = np.split(table.sum(axis=0), len(systems))
    as_large = np.zeros((len(pairs), len(systems[0])))
    for kept in _swaps(len(table), permutations, seed):
        sums = np.split(kept @ table, len(systems), axis=1)
        for row, (i, j) in enumerate(pairs):
            one, other = sums[i] - sums[j] + totals[j], sums[j] - sums[i] + totals[i]
            as_large[row] += _as_large(systems[i], systems[j], one, other)
    return [[float(p) for p in row] for row in (as_large + 1) / (permutations + 1)]


def _swaps(num_queries: int, permutations: int, seed: int) -> Iterator[Float64]:
    """Give, in blocks, which queries each permutation leaves as they are, [B, Q]: 1 or 0, a fair coin each."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // max(1, num_queries))
    for start in range(0, permutations, block):
        size = (min(block, permutations - start), -(-num_queries // 8))
        coins = np.unpackbits(rng.integers(256, size=size, dtype=np.uint8), axis=1, count=num_queries)
        yield coins.astype(np.float64)


def _as_large(a: Sequence[Statistic], b: Sequence[Statistic], one: Float64, other: Float64) -> list[int]:
    """Count, for every measure, the swaps whose difference is as large as the one found, up to rounding."""
    ends = np.cumsum([statistic.counts.shape[1] for statistic in a])[:-1]
    counted = []
    parts = zip(a, b, np.split(one, ends, axis=1), np.split(other, ends, axis=1), strict=True)
    for of_a, of_b, sums_one, sums_other in parts:
        differences = np.abs(of_a.combine(sums_one) - of_b.combine(sums_other))
        found = abs(of_a.value - of_b.value)
        smaller = differences < found * (1 - 1e-9) - 1e-12  # not true of NaN: what is undefined is no evidence
        counted.append(int(np.count_nonzero(~smaller)))
    return counted


def detectable_difference(differences: Float64) -> float:
    """Give the smallest true difference that would be found 4 times in 5: power 0.8 at a two-sided level of 0.05.

    (1.960 + 0.842) standard errors, where the standard error is the standard deviation of the bootstrapped
    differences (the normal approximation; Sakai 2018, Laboratory Experiments in Information Retrieval, chapter 6). It
    falls with the root of the number of queries. NaN without at least two defined values.
    """
    defined = differences[np.isfinite(differences)]
    return float(_POWER_80 * defined.std(ddof=1)) if len(defined) > 1 else float("nan")


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of comparisons (Holm 1979): reject those at most alpha, and the chance of any
    false rejection is at most alpha. Never less powerful than Bonferroni's rule; needs no independence."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return [float(p) for p in adjusted]
