"""Shares of a whole as bars, one below another, each beside what it would be if nothing were preferred."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.report.charts.axis import WIDTH, Axis
from mmsearch.report.markup import Html, tag

_ROW, _TOP, _BOTTOM, _SIDE = 33.0, 6.0, 40.0, 12.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its label, share and interval (0 to 1, NaN = none), how they are written, and two references.

    `even` is drawn as a stroke, `by_tokens` as a ring; NaN = not drawn.
    """

    label: str
    value: float
    low: float
    high: float
    shown: str
    even: float
    by_tokens: float


def widest(bars: Iterable[Bar]) -> float:
    """Give the largest share among some bars and their references, as the end of the axis that charts share."""
    ends = [end for bar in bars for end in (bar.value, bar.high, bar.even, bar.by_tokens) if math.isfinite(end)]
    return min(1.0, max([0.1, *ends]))


def shares(name: str, bars: Sequence[Bar], end: float) -> Html:
    """Draw shares from 0 to `end`, with labels and numbers above each bar as in a forest plot.

    Args:
        name: what the chart shows, for those who cannot see it.
        bars: the rows, top to bottom.
        end: of the axis, above 0 and at most 1; give several charts the same one to compare them.
    """
    axis = Axis(0, end * 1.04, _SIDE, WIDTH - _SIDE)
    bottom = _TOP + _ROW * len(bars)
    parts = []
    for tick in axis.ticks():
        parts.append(tag("path", d=_lanes(axis(tick), len(bars)), class_="grid"))
        parts.append(tag("text", f"{tick:.0%}", x=axis(tick), y=bottom + 14, class_="tick", text_anchor="middle"))
    rings = any(math.isfinite(bar.by_tokens) for bar in bars)
    title = f"share · stroke: even{' · ring: by number of tokens' if rings else ''}"
    parts.append(tag("text", title, x=WIDTH / 2, y=bottom + 32, class_="axis", text_anchor="middle"))
    parts += [part for i, bar in enumerate(bars) for part in _row(axis, bar, _TOP + _ROW * i)]
    spoken = "; ".join(f"{bar.label} {bar.shown}" for bar in bars)
    size = f"0 0 {WIDTH:g} {bottom + _BOTTOM:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _lanes(x: float, count: int) -> str:
    return "".join(f"M{x:.1f} {_TOP + _ROW * i + 17:.1f}v14" for i in range(count))


def _row(axis: Axis, bar: Bar, top: float) -> list[Html]:
    middle = top + 24
    parts = [
        tag("text", bar.label, x=_SIDE, y=top + 12, class_="label"),
        tag("text", bar.shown, x=WIDTH - _SIDE, y=top + 12, class_="number", text_anchor="end"),
    ]
    if math.isfinite(bar.value):
        width = axis(bar.value) - axis.start
        parts.append(tag("rect", x=axis.start, y=middle - 4, width=width, height=8, class_="bar"))
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        parts.append(tag("path", d=f"M{axis(bar.low):.1f} {middle:.1f}H{axis(bar.high):.1f}", class_="between"))
    if math.isfinite(bar.even):
        parts.append(tag("path", d=f"M{axis(bar.even):.1f} {middle - 7:.1f}v14", class_="even"))
    if math.isfinite(bar.by_tokens):
        parts.append(tag("circle", cx=axis(bar.by_tokens), cy=middle, r=4, class_="by-tokens"))
    return parts
