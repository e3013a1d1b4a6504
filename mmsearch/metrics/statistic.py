"""A measure of a whole table as a function of sums over its queries: what resampling needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmsearch.metrics.scored import Float64


@dataclass(frozen=True, eq=False)
class Statistic:
    """A measure that depends on the queries only through sums.

    A mean is (sum of values) / (number of values); PNR is a ratio of sums of pair counts. So drawing queries again, or
    swapping two systems on some queries, costs one matrix product and needs no document.

    Args:
        name: of the measure, such as `ndcg_exp@10`.
        counts: what every query adds, [Q, C].
        combine: the sums to the measure, [..., C] to [...]; NaN where it is not defined.
        num_queries: number of queries that have a say; the others add nothing.
        pairs: of PNR: concordant, discordant and tied pairs, each counted once whatever it weighs.
    """

    name: str
    counts: Float64
    combine: Callable[[Float64], Float64]
    num_queries: int
    pairs: tuple[int, int, int] | None = None

    @property
    def value(self) -> float:
        """The measure on the queries as they are."""
        return float(self.combine(self.counts.sum(axis=0)))


def mean_of(name: str, values: Float64) -> Statistic:
    """Give the mean over the queries that have a value; NaN = none, [Q]."""
    defined = np.isfinite(values)
    counts = np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)], axis=1)
    return Statistic(name, counts, _mean, int(defined.sum()))


def _mean(sums: Float64) -> Float64:
    total, number = sums[..., 0], sums[..., 1]
    return np.asarray(np.where(number > 0, total / np.maximum(1, number), np.nan), dtype=np.float64)
