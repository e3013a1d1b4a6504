"""From values to pixels, and the round numbers that stand at an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

WIDTH = 340.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight or logarithmic axis.

    Args:
        low: value at pixel `start`; above 0 on a logarithmic axis.
        high: value at pixel `end`; above `low`.
        start: a pixel.
        end: another; smaller than `start` on an axis that points up.
        log: logarithmic: equal ratios are equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Give the pixel of a value; a value beyond an end lies at that end."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Give about `count` round values within the axis."""
        return log_ticks(self.low, self.high, count) if self.log else linear_ticks(self.low, self.high, count)


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Give the multiples of 1, 2 or 5 times a power of ten within a range: at most `count` + 1."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Give round values within a range of positive numbers, spaced by ratio: 0.5, 1, 2, 5 or closer."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in (
        (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0),
        (1.0, 1.5, 2.0, 3.0, 5.0),
        (1.0, 2.0, 5.0),
        (1.0,),
    ):
        found = [m * 10.0**p for p in powers for m in mantissas if low * (1 - 1e-9) <= m * 10.0**p <= high * (1 + 1e-9)]
        if len(found) <= count + 1:
            return [round(value, 12) for value in found]
    return [round(value, 12) for value in found[:: -(-len(found) // count)]]


def label(value: float) -> str:
    """Write a value at an axis: short, without zeros that say nothing."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.4g}".replace("-", "−")
