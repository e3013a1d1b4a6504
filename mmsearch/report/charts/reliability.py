"""Mean grade by score: whether a higher score is worth more."""

from __future__ import annotations

import math

from mmsearch.report.charts.axis import WIDTH, Axis, label
from mmsearch.report.markup import Html, tag
from mmsearch.report.spread import Spread

_LEFT, _SIDE, _TOP, _HEIGHT = 40.0, 12.0, 10.0, 150.0


def reliability(name: str, spread: Spread, colour: str) -> Html:
    """Draw the mean grade of each tenth of the scores with its interval; the dashed line is the mean of all."""
    tops = [tenth.high for tenth in spread.tenths if math.isfinite(tenth.high)]
    y = Axis(0, max([*tops, spread.mean_grade, 0.5]) * 1.05, _TOP + _HEIGHT, _TOP)
    x = Axis(0.5, max(1.5, len(spread.tenths) + 0.5), _LEFT, WIDTH - _SIDE)
    mean = y(spread.mean_grade)
    parts = [*_grid(x, y, len(spread.tenths)), tag("line", x1=x.start, x2=x.end, y1=mean, y2=mean, class_="reference")]
    at = [(x(i), y(tenth.mean_grade), tenth) for i, tenth in enumerate(spread.tenths, 1)]
    parts.append(tag("path", d="M" + "L".join(f"{px:.1f} {py:.1f}" for px, py, _ in at), class_=f"line {colour}"))
    for px, py, tenth in at:
        if math.isfinite(tenth.low) and math.isfinite(tenth.high):
            parts.append(tag("line", x1=px, x2=px, y1=y(tenth.low), y2=y(tenth.high), class_=f"whisker {colour}"))
        parts.append(tag("circle", cx=px, cy=py, r=4, class_=f"dot {colour}"))
    spoken = ", ".join(f"{tenth.mean_grade:.2f}" for tenth in spread.tenths)
    size = f"0 0 {WIDTH:g} {_TOP + _HEIGHT + 36:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _grid(x: Axis, y: Axis, count: int) -> list[Html]:
    parts = []
    for tick in y.ticks(4):
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", label(tick), x=_LEFT - 5, y=y(tick) + 4, class_="tick", text_anchor="end"))
    for number in range(1, count + 1):
        parts.append(tag("text", str(number), x=x(number), y=y.start + 14, class_="tick", text_anchor="middle"))
    middle, title = (x.start + x.end) / 2, "tenth of the scores, low to high · up: mean grade"
    return [*parts, tag("text", title, x=middle, y=y.start + 30, class_="axis", text_anchor="middle")]
