"""Means over seeds with intervals, and paired differences to the first variant with tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmsearch.metrics.significance import Interval, holm
from training.comparison.results import Outcome
from training.comparison.student_t import detectable, p_value, quantile

Float64 = npt.NDArray[np.float64]
_NOWHERE = Interval(math.nan, math.nan)
#: Differences that spread less than this share of their size are equal but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds (of a ratio: the geometric mean) and its 95 % interval; NaN where it is not defined."""

    value: float
    interval: Interval
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant against the first one, paired by seed.

    Args:
        value: mean of its values minus those of the first; of a ratio: the geometric mean of their quotients.
        interval: 95 % interval of that (Student's t).
        p_value: of the paired t-test, two-sided, for this comparison alone.
        p_holm: the same, corrected for all variants.
        detectable: least true difference that would be found 4 times in 5; of a ratio: the quotient above 1.
        num_pairs: seeds that both have.
        neutral: what says that there is no difference: 0; of a ratio: 1.
    """

    value: float
    interval: Interval
    p_value: float
    p_holm: float
    detectable: float
    num_pairs: int
    neutral: float

    @property
    def verdict(self) -> str:
        """Say in words what was seen, in which direction, and whether it stands among all comparisons."""
        if not math.isfinite(self.interval.low):
            return "too few seeds"
        if self.interval.low <= self.neutral <= self.interval.high:
            return "no difference seen"
        direction = "higher" if self.value > self.neutral else "lower"
        return direction if self.p_holm <= 0.05 else f"{direction}, but not after Holm"


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure of all variants.

    Args:
        metric: its name.
        is_ratio: whether logarithms were averaged and compared.
        estimates: by variant, in their order.
        differences: of every variant but the first.
    """

    metric: str
    is_ratio: bool
    estimates: dict[str, Estimate]
    differences: dict[str, Difference]


def summarise(outcomes: Mapping[str, Mapping[int, Outcome]], metric: str) -> Summary:
    """Summarise a figure.

    Values that are not finite (a PNR without any discordant pair) are left out with their seed, and so are seeds that
    only one of two variants has. Equal differences for all seeds have an interval of no width, and p = 0 (1 if all
    are 0).

    Args:
        outcomes: by variant and seed; the first variant is what the others are compared with.
        metric: name of the figure.
    """
    is_ratio = any(metric in one.ratios for seeds in outcomes.values() for one in seeds.values())
    values = {label: _values(seeds, metric, is_ratio) for label, seeds in outcomes.items()}
    first, *others = values
    back = np.exp if is_ratio else np.asarray
    estimates = {}
    for label, by_seed in values.items():
        mean, interval = _mean(np.array(list(by_seed.values())))
        ends = Interval(float(back(interval.low)), float(back(interval.high)))
        estimates[label] = Estimate(float(back(mean)), ends, len(by_seed))
    alone = {label: _difference(values[label], values[first], is_ratio) for label in others}
    return Summary(metric, is_ratio, estimates, _corrected(alone))


def metrics_of(outcomes: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """Give the names of all figures, as they first come."""
    return list(dict.fromkeys(name for seeds in outcomes.values() for one in seeds.values() for name in one.values))


def _values(seeds: Mapping[int, Outcome], metric: str, is_ratio: bool) -> dict[int, float]:
    found = {}
    for seed, outcome in seeds.items():
        value = outcome.values.get(metric, math.nan)
        if is_ratio:
            value = math.log(value) if value > 0 else math.nan
        if math.isfinite(value):
            found[seed] = value
    return found


def _mean(values: Float64) -> tuple[float, Interval]:
    """Give the mean and its 95 % interval: mean ± t * sd / root(n), with n - 1 degrees of freedom."""
    if not len(values):
        return math.nan, _NOWHERE
    mean = float(values.mean())
    if len(values) == 1:
        return mean, _NOWHERE
    half = quantile(0.95, len(values) - 1) * _spread(values) / math.sqrt(len(values))
    return mean, Interval(mean - half, mean + half)


def _spread(values: Float64) -> float:
    """Give the standard deviation, 0 where it is but rounding."""
    found = float(values.std(ddof=1))
    return found if found > _ROUNDING * float(np.abs(values).max()) else 0.0


def _difference(own: Mapping[int, float], first: Mapping[int, float], is_ratio: bool) -> Difference:
    seeds: Sequence[int] = [seed for seed in own if seed in first]
    pairs = np.array([own[seed] - first[seed] for seed in seeds])
    mean, interval = _mean(pairs)
    p, least = math.nan, math.nan
    if len(pairs) > 1:
        spread = _spread(pairs)
        t = mean * math.sqrt(len(pairs)) / spread if spread else math.copysign(math.inf, mean) if mean else 0.0
        p, least = p_value(t, len(pairs) - 1), detectable(spread, len(pairs))
    back = np.exp if is_ratio else np.asarray
    ends = Interval(float(back(interval.low)), float(back(interval.high)))
    return Difference(float(back(mean)), ends, p, p, float(back(least)), len(pairs), 1.0 if is_ratio else 0.0)


def _corrected(alone: Mapping[str, Difference]) -> dict[str, Difference]:
    tested = [label for label, one in alone.items() if math.isfinite(one.p_value)]
    adjusted = dict(zip(tested, holm([alone[label].p_value for label in tested]), strict=True))
    return {label: replace(one, p_holm=adjusted.get(label, math.nan)) for label, one in alone.items()}
