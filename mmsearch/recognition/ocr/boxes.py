"""From boxes to lines: what is too small or too unsure is dropped, the rest put in the order in which it is read.

Lines go from top to bottom, the boxes of a line from left to right. Where a wide empty strip parts at least
`_MIN_ROWS` rows on its left from as many on its right, these are columns: the left one is read first. Vertical
writing is not put in order beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

import numpy as np

from mmsearch.protocols import TextBox

_MIN_ROWS = 3
_SAME_ROW = 0.5  # share of the lower box's height that must overlap
_GUTTER = 1.0  # least width of the strip between columns, in heights of a line


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and how sure the reader is of it (the mean of its boxes, weighted by characters)."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Placed:
    """A box with its upright outline."""

    left: float
    top: float
    right: float
    bottom: float
    box: TextBox


def keep_legible(
    boxes: Iterable[TextBox], size: tuple[int, int], *, min_confidence: float, min_height: float
) -> list[TextBox]:
    """Drop what is too unsure, too small, or empty.

    Args:
        boxes: what a reader found.
        size: height and width of the picture.
        min_confidence: least confidence.
        min_height: least height of the letters (the shorter side of the box) as a share of the picture's shorter side.
    """
    least = min_height * min(size)
    return [
        box for box in boxes if box.text.strip() and box.confidence >= min_confidence and letter_height(box) >= least
    ]


def letter_height(box: TextBox) -> float:
    """Give the shorter side of a box in pixels, however it is turned."""
    corners = np.asarray(box.corners, np.float64)
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    return float(min(sides[0] + sides[2], sides[1] + sides[3]) / 2)


def read_lines(boxes: Iterable[TextBox]) -> list[Line]:
    """Join boxes to lines, in reading order; boxes of one line are joined by a blank."""
    return [_line(row) for row in _in_order([_place(box) for box in boxes])]


def _place(box: TextBox) -> _Placed:
    left, top = np.asarray(box.corners, np.float64).min(0).tolist()
    right, bottom = np.asarray(box.corners, np.float64).max(0).tolist()
    return _Placed(left, top, right, bottom, box)


def _line(row: Sequence[_Placed]) -> Line:
    texts = [" ".join(placed.box.text.split()) for placed in row]
    lengths = [max(1, len(text)) for text in texts]
    sure = sum(placed.box.confidence * length for placed, length in zip(row, lengths, strict=True)) / sum(lengths)
    return Line(" ".join(texts), round(sure, 6))


def _in_order(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    rows = _rows(placed)
    ordered: list[list[_Placed]] = []
    at = 0
    while at < len(rows):
        end, columns = _columns(rows, at)
        ordered += [row for column in columns for row in _in_order(column)] if columns else [rows[at]]
        at = end
    return ordered


def _rows(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    """Group boxes that stand beside each other, top to bottom; each row from left to right."""
    rows: list[list[_Placed]] = []
    for one in sorted(placed, key=lambda p: (p.top + p.bottom, p.left)):
        if rows and _beside(rows[-1][0], one):
            rows[-1].append(one)
        else:
            rows.append([one])
    return [sorted(row, key=lambda p: (p.left, p.top)) for row in rows]


def _beside(first: _Placed, second: _Placed) -> bool:
    shared = min(first.bottom, second.bottom) - max(first.top, second.top)
    return shared > _SAME_ROW * min(first.bottom - first.top, second.bottom - second.top)


def _columns(rows: Sequence[Sequence[_Placed]], start: int) -> tuple[int, tuple[list[_Placed], ...]]:
    """Give the end of the longest run of rows from `start` that one strip parts, and its two sides.

    Where there are no columns, the end is `start + 1` and there are no sides.
    """
    least = _GUTTER * median(p.bottom - p.top for row in rows for p in row)
    strips: list[tuple[float, float]] = [(-inf, inf)]
    best: tuple[int, float] | None = None
    for end in range(start + 1, len(rows) + 1):
        strips = [strip for strip in _without(strips, rows[end - 1]) if strip[1] - strip[0] >= least]
        inner = [strip for strip in strips if -inf < strip[0] and strip[1] < inf]
        if inner:
            left, right = max(inner, key=lambda strip: strip[1] - strip[0])
            middle = (left + right) / 2
            on_left = sum(row[0].right <= middle for row in rows[start:end])
            on_right = sum(row[-1].left >= middle for row in rows[start:end])
            best = (end, middle) if min(on_left, on_right) >= _MIN_ROWS else best
    if best is None:
        return start + 1, ()
    end, middle = best
    run = [p for row in rows[start:end] for p in row]
    return end, ([p for p in run if p.right <= middle], [p for p in run if p.right > middle])


def _without(strips: Iterable[tuple[float, float]], row: Iterable[_Placed]) -> list[tuple[float, float]]:
    """Take the width of the boxes of a row out of empty strips."""
    left = list(strips)
    for p in row:
        cut = [((a, min(b, p.left)), (max(a, p.right), b)) for a, b in left]
        left = [strip for pair in cut for strip in pair if strip[0] < strip[1]]
    return left
