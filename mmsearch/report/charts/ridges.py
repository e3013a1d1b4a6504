"""Distributions one below another, on one axis (a ridgeline plot)."""

from __future__ import annotations

import math

from mmsearch.report.charts.axis import WIDTH, Axis, label
from mmsearch.report.markup import Html, tag
from mmsearch.report.spread import Histogram, Spread

_ROW, _TOP, _LEFT, _SIDE = 46.0, 10.0, 74.0, 10.0


def ridges(name: str, spread: Spread) -> Html:
    """Draw the distribution of scores for each grade, best grade on top; a stroke marks the median."""
    axis = Axis(spread.low, spread.high, _LEFT, WIDTH - _SIDE)
    tallest = max((share for one in spread.histograms for share in one.shares), default=0.0) or 1.0
    bottom = _TOP + _ROW * len(spread.histograms)
    parts = [_grid(axis, bottom)]
    for i, one in enumerate(spread.histograms):
        parts.append(_row(one, axis, _TOP + _ROW * (i + 1), (_ROW - 6) / tallest))
    spoken = "; ".join(f"grade {one.grade} median {_median(one)}" for one in spread.histograms)
    size = f"0 0 {WIDTH:g} {bottom + 36:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _grid(axis: Axis, bottom: float) -> list[Html]:
    parts = []
    for tick in axis.ticks(5):
        x = axis(tick)
        parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid"))
        parts.append(tag("text", label(tick), x=x, y=bottom + 14, class_="tick", text_anchor="middle"))
    middle = (axis.start + axis.end) / 2
    return [*parts, tag("text", "score (cosine)", x=middle, y=bottom + 30, class_="axis", text_anchor="middle")]


def _row(one: Histogram, axis: Axis, base: float, scale: float) -> list[Html]:
    width = (axis.end - axis.start) / max(1, len(one.shares))
    points = [f"{axis.start:.1f} {base:.1f}"]
    for i, share in enumerate(one.shares):
        left, y = axis.start + i * width, base - share * scale
        points += [f"{left:.1f} {y:.1f}", f"{left + width:.1f} {y:.1f}"]
    parts = [
        tag(
            "path",
            d="M" + "L".join([*points, f"{axis.end:.1f} {base:.1f}"]) + "Z",
            class_=f"ridge grade{min(4, one.grade)}",
        ),
        tag("text", f"grade {one.grade}", x=2, y=base - 16, class_="label"),
        tag("text", f"{one.num_scored:,} scored", x=2, y=base - 3, class_="tick"),
    ]
    if math.isfinite(one.median):
        x = axis(one.median)
        parts.append(tag("line", x1=x, x2=x, y1=base, y2=base - _ROW + 10, class_="median"))
    return parts


def _median(one: Histogram) -> str:
    return f"{one.median:.2f}" if math.isfinite(one.median) else "none"
