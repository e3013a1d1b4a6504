"""Values with their intervals, one below another (a forest plot)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.report.charts.axis import WIDTH, Axis, label
from mmsearch.report.markup import Html, tag

_ROW, _TOP, _BOTTOM, _SIDE = 33.0, 6.0, 40.0, 12.0
#: Widths of a letter of a label and of a (bold) digit.
_LETTER, _DIGIT = 5.8, 6.4


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
    """Give the axis for some marks: the reference and all values are on it, and all of their intervals but the part
    that would take more than half of it."""
    shown = [mark for mark in marks if math.isfinite(mark.value) and (mark.value > 0 or not log)]
    values = [*(mark.value for mark in shown), reference]
    ends = [end for mark in shown for end in (mark.low, mark.high) if math.isfinite(end)]
    low, high = min(values), max(values)
    if log:
        room = max(1.5, high / low)
        low, high = max(min([*ends, low]), low / room), min(max([*ends, high]), high * room)
        return Span(low / 1.03, high * 1.03, title, reference, reference_label, log)
    room = max(0.01, high - low)
    low, high = max(min([*ends, low]), low - room), min(max([*ends, high]), high + room)
    return Span(low - room / 30, high + room / 30, title, reference, reference_label)


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
    parts = [
        _grid(axis, len(marks), bottom, span),
        *(_row(axis, mark, _TOP + _ROW * i) for i, mark in enumerate(marks)),
    ]
    spoken = "; ".join(f"{mark.label} {mark.shown}" for mark in marks)
    size = f"0 0 {WIDTH:g} {bottom + _BOTTOM:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _grid(axis: Axis, count: int, bottom: float, span: Span) -> list[Html]:
    """Draw the grid in the lanes of the intervals only: no line runs through a label."""
    parts = []
    for tick in axis.ticks():
        parts.append(tag("path", d=_lanes(axis(tick), count), class_="grid"))
        parts.append(tag("text", label(tick), x=axis(tick), y=bottom + 14, class_="tick", text_anchor="middle"))
    parts.append(tag("path", d=_lanes(axis(span.reference), count), class_="reference"))
    title = f"{span.title} · dashed line: {span.reference_label}"
    return [*parts, tag("text", title, x=WIDTH / 2, y=bottom + 32, class_="axis", text_anchor="middle")]


def _lanes(x: float, count: int) -> str:
    return "".join(f"M{x:.1f} {_TOP + _ROW * i + 17:.1f}v14" for i in range(count))


def _row(axis: Axis, mark: Mark, top: float) -> list[Html]:
    middle = top + 24
    parts = [
        tag("text", _fitting(mark), x=_SIDE, y=top + 12, class_="label"),
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


def _fitting(mark: Mark) -> str:
    """Cut a label so that it does not run into the numbers."""
    room = int((WIDTH - 2 * _SIDE - _DIGIT * len(mark.shown)) / _LETTER)
    return mark.label if len(mark.label) <= room else mark.label[: max(1, room - 1)] + "…"


def _arrow(axis: Axis, end: float, y: float, colour: str) -> Html:
    """Draw the head of an interval that goes on beyond the axis."""
    x, way = axis(end), 1 if end > axis.high else -1
    return tag(
        "path",
        d=f"M{x - 5 * way:.1f} {y - 4:.1f}L{x + 2 * way:.1f} {y:.1f}L{x - 5 * way:.1f} {y + 4:.1f}Z",
        class_=f"arrow {colour}",
    )
