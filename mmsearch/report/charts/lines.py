"""Curves over steps, with the stages of a run marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmsearch.report.charts.axis import WIDTH, Axis, label
from mmsearch.report.curves import Curve, Stage
from mmsearch.report.markup import Html, tag

_LEFT, _SIDE, _NAMES, _HEIGHT, _LETTER, _LINE = 40.0, 10.0, 78.0, 150.0, 6.0, 13.0
_LONGEST_NAME = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: its short name (drawn at its end), its class of colour, and whether it is dashed."""

    name: str
    curve: Curve
    colour: str
    dashed: bool = False


def lines(name: str, drawn: Sequence[Line], stages: Sequence[Stage], *, reference: float | None = None) -> Html:
    """Draw curves over the steps of a run.

    Args:
        name: what the chart shows, for those who cannot see it.
        drawn: curves, at least one, each with a point.
        stages: bands with their names.
        reference: a value at which a dashed line stands.
    """
    values = [value for line in drawn for value in line.curve.values] + ([] if reference is None else [reference])
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.5
    last = max([line.curve.steps[-1] for line in drawn] + [stage.end for stage in stages])
    x = Axis(0, max(1, last), _LEFT, WIDTH - (_NAMES if len(drawn) > 1 else _SIDE))
    placed, rows = _place(stages, x)
    top = 4 + _LINE * rows
    y = Axis(low - margin, high + margin, top + _HEIGHT, top)
    parts = [_bands(stages, x, y), _grid(x, y), [_text(text, at, row) for text, at, row in placed]]
    if reference is not None:
        parts.append([tag("line", x1=x.start, x2=x.end, y1=y(reference), y2=y(reference), class_="reference")])
    parts += [[_curve(line, x, y), *_points(line, x, y)] for line in drawn]
    if len(drawn) > 1:  # the name of a single curve is that of the chart
        parts.append(_names(drawn, x, y))
    spoken = "; ".join(f"{line.name} ends at {line.curve.values[-1]:.3g}" for line in drawn)
    size = f"0 0 {WIDTH:g} {top + _HEIGHT + 36:g}"
    return tag("svg", tag("title", f"{name}: {spoken}"), parts, viewBox=size, role="img", class_="chart")


def _bands(stages: Sequence[Stage], x: Axis, y: Axis) -> list[Html]:
    parts = []
    for number, stage in enumerate(stages):
        start, end = x(stage.start), x(stage.end)
        parts.append(
            tag(
                "rect",
                x=start,
                y=y.end,
                width=max(0.0, end - start),
                height=y.start - y.end,
                class_=f"band{number % 2}",
            )
        )
    return parts


def _grid(x: Axis, y: Axis) -> list[Html]:
    parts = []
    for tick in y.ticks(4):
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", label(tick), x=_LEFT - 5, y=y(tick) + 4, class_="tick", text_anchor="end"))
    for tick in x.ticks(4):
        parts.append(tag("text", label(tick), x=x(tick), y=y.start + 14, class_="tick", text_anchor="middle"))
    middle = (x.start + x.end) / 2
    return [*parts, tag("text", "steps", x=middle, y=y.start + 30, class_="axis", text_anchor="middle")]


def _place(stages: Sequence[Stage], x: Axis) -> tuple[list[tuple[str, float, int]], int]:
    """Put the names of stages above their bands: each in the first line where it runs into no other."""
    free: list[float] = []
    placed = []
    for stage in stages:
        text = stage.name if len(stage.name) <= 24 else stage.name[:23] + "…"
        wide = _LETTER * len(text) + 8
        start = max(0.0, min(x(stage.start), WIDTH - wide))
        row = next((i for i, end in enumerate(free) if end <= start), len(free))
        free[row : row + 1] = [start + wide]
        placed.append((text, start, row))
    return placed, max(1, len(free))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _text(text: str, start: float, row: int) -> Html:
    return tag("text", text, x=start + 2, y=_LINE * (row + 1) - 2, class_="stage")


def _curve(line: Line, x: Axis, y: Axis) -> Html:
    steps = zip(line.curve.steps, line.curve.values, strict=True)
    path = "M" + "L".join(f"{x(step):.1f} {y(value):.1f}" for step, value in steps)
    return tag("path", d=path, class_=f"line {line.colour}{' dashed' if line.dashed else ''}")


def _points(line: Line, x: Axis, y: Axis) -> list[Html]:
    """Draw dots where there are few points, so that it is seen where something was measured."""
    if len(line.curve.steps) > 24:
        return []
    steps = zip(line.curve.steps, line.curve.values, strict=True)
    return [tag("circle", cx=x(step), cy=y(value), r=2.5, class_=f"dot {line.colour}") for step, value in steps]


def _names(drawn: Sequence[Line], x: Axis, y: Axis) -> list[Html]:
    """Write each curve's name at its end, pushed apart where they would lie on each other."""
    wanted = sorted((y(line.curve.values[-1]), i) for i, line in enumerate(drawn))
    parts, at = [], -1e9
    overflow = max(0.0, len(wanted) * 12 - (y.start - y.end))
    for number, (pixel, i) in enumerate(wanted):
        room_below = y.start + overflow - 12 * (len(wanted) - 1 - number)
        at = max(at + 12, min(pixel + 4, room_below))
        line = drawn[i]
        parts.append(tag("text", _short(line.name), x=x.end + 6, y=at, class_=f"name ink-{line.colour}"))
    return parts
