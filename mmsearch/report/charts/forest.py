"""Values with their intervals, one below another (a forest plot)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.report.charts.axis import WIDTH, Axis, label
from mmsearch.report.markup import Html, tag

_ROW, _TOP, _BOTTOM, _SIDE = 33.0, 6.0, 40.0, 12.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A row: its label, value and interval (NaN = none), and how they are written; `colour` is a class."""

    label: str
    value: float
    low: float
    high: float
    shown: str
    colour: str


@dataclass(frozen=True, slots=True)
class Span:
    """The axis that charts share: its ends, what it shows, and the value at which a line stands."""

    low: float
    high: float
    title: str
    reference: float
    reference_label: str
    log: bool = False


def span_of(marks: Iterable[Mark], title: str, reference: float, reference_label: str, *, log: bool = False) -> Span:
    """Give the axis for some marks: all values are in it, and intervals as long as they are not much wider."""
    values = [mark.value for mark in marks if math.isfinite(mark.value) and (mark.value > 0 or not log)]
    values.append(reference)
    ends = [end for mark in marks for end in (mark.low, mark.high) if math.isfinite(end)] or values
    low, high = min(values), max(values)
    if log:
        room = max(1.25, (high / low) ** 0.6)
        return Span(
            max(min(ends), low / room, 0.05), min(max(*ends, high), high * room), title, reference, reference_label, log
        )
    room = max(1e-6, 0.8 * (high - low))
    low, high = max(min(*ends, low), low - room), min(max(*ends, high), high + room)
    return Span(low, high if high > low else low + 1.0, title, reference, reference_label)


def forest(name: str, marks: Sequence[Mark], span: Span) -> Html:
    """Draw rows of values with their intervals.

    The label and the numbers stand above each line, so that long labels fit. An interval that is wider than the axis
    ends in an arrow.

    Args:
        name: what the chart shows, for those who cannot see it.
        marks: the rows, top to bottom.
        span: the axis; give several charts the same one to compare them.
    """
    axis = Axis(span.low, span.high, _SIDE, WIDTH - _SIDE, span.log)
    bottom = _TOP + _ROW * len(marks)
    parts = [_grid(axis, bottom, span), *(_row(axis, mark, _TOP + _ROW * i) for i, mark in enumerate(marks))]
    spoken = "; ".join(f"{mark.label} {mark.shown}" for mark in marks)
    size = f"0 0 {WIDTH:g} {bottom + _BOTTOM:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _grid(axis: Axis, bottom: float, span: Span) -> list[Html]:
    parts = []
    for tick in axis.ticks():
        x = axis(tick)
        parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid"))
        parts.append(tag("text", label(tick), x=x, y=bottom + 14, class_="tick", text_anchor="middle"))
    if axis.low <= span.reference <= axis.high:
        x = axis(span.reference)
        parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="reference"))
    title = f"{span.title} · dashed line: {span.reference_label}"
    parts.append(tag("text", title, x=WIDTH / 2, y=bottom + 32, class_="axis", text_anchor="middle"))
    return parts


def _row(axis: Axis, mark: Mark, top: float) -> list[Html]:
    middle = top + 24
    parts = [
        tag("text", mark.label, x=_SIDE, y=top + 12, class_="label"),
        tag("text", mark.shown, x=WIDTH - _SIDE, y=top + 12, class_="number", text_anchor="end"),
    ]
    if not math.isfinite(mark.value):
        return parts
    if math.isfinite(mark.low) and math.isfinite(mark.high):
        parts.append(
            tag("line", x1=axis(mark.low), x2=axis(mark.high), y1=middle, y2=middle, class_=f"whisker {mark.colour}")
        )
        parts += [
            _arrow(axis, end, middle, mark.colour) for end in (mark.low, mark.high) if not axis.low <= end <= axis.high
        ]
    parts.append(tag("circle", cx=axis(mark.value), cy=middle, r=4.5, class_=f"dot {mark.colour}"))
    return parts


def _arrow(axis: Axis, end: float, y: float, colour: str) -> Html:
    """Draw the head of an interval that goes on beyond the axis."""
    x, way = axis(end), 1 if end > axis.high else -1
    return tag(
        "path",
        d=f"M{x - 5 * way:.1f} {y - 4:.1f}L{x + 2 * way:.1f} {y:.1f}L{x - 5 * way:.1f} {y + 4:.1f}Z",
        class_=f"arrow {colour}",
    )
