"""Student's t distribution for whole degrees of freedom, and what a paired t-test can see.

The distribution has a closed form there (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4): no library of special functions
is needed for a handful of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_HALVINGS = 80
#: Points of the integral over the standard deviation found by chance.
_POINTS = 1_001

_erf = np.vectorize(math.erf, otypes=[np.float64])


def p_value(t: float, df: int) -> float:
    """Give the chance of |T| >= |t| with `df` degrees of freedom (at least 1); NaN for NaN."""
    if math.isnan(t):
        return math.nan
    return max(0.0, 1 - _inside(abs(t), df))


def quantile(level: float, df: int) -> float:
    """Give the t that |T| stays below with chance `level` (0.95: the two-sided 5 % point)."""
    return _bisect(lambda t: _inside(t, df) - level)


def detectable(sd: float, num_pairs: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Give the least true mean difference that a paired t-test finds with chance `power`; NaN for fewer than 2 pairs.

    Exact for normal differences: the test's statistic then has the noncentral t distribution.

    Args:
        sd: standard deviation of the differences of the pairs.
        num_pairs: how many pairs.
        power: chance of finding it, below 1.
        level: 1 minus the two-sided level of the test.
    """
    if num_pairs < 2:
        return math.nan
    df = num_pairs - 1
    bound = quantile(level, df)
    shift = _bisect(lambda shift: _found(shift, bound, df) - power)
    return shift * sd / math.sqrt(num_pairs)


def _inside(t: float, df: int) -> float:
    """Give the chance of |T| <= t."""
    if math.isinf(t):
        return 1.0
    root = math.hypot(t, math.sqrt(df))
    sine, cosine = t / root, math.sqrt(df) / root
    term, total = (cosine, 0.0) if df % 2 else (1.0, 0.0)
    for power in range(1 if df % 2 else 0, df - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    if df % 2:
        return 2 / math.pi * (math.atan2(t, math.sqrt(df)) + sine * total)
    return sine * total


def _found(shift: float, bound: float, df: int) -> float:
    """Give the chance of |T| > bound when T's normal part has mean `shift`.

    T = Z / S, with S the root of a chi-squared over its degrees of freedom: the mean over S of Z's chance.
    """
    spread = 9 / math.sqrt(2 * df)
    s = np.linspace(max(1e-9, 1 - spread), 1 + spread, _POINTS)
    log_density = (df - 1) * np.log(s) - df * s * s / 2
    density = np.exp(log_density - log_density.max())
    chance = _normal(shift - bound * s) + _normal(-shift - bound * s)
    return float((density * chance).sum() / density.sum())


def _normal(z: Float64) -> Float64:
    values: Float64 = (1 + _erf(z / math.sqrt(2))) / 2
    return values


def _bisect(rising: Callable[[float], float]) -> float:
    """Give the root of a rising function of positive numbers."""
    low, high = 0.0, 1.0
    while rising(high) < 0:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
        if high - low <= 1e-12 * high:
            break
    return (low + high) / 2
