"""Pieces that sections are made of: tables that fold on a phone, rows of charts, notices, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.metrics import Interval, Result
from mmsearch.report.charts import Mark
from mmsearch.report.diagnostics import Estimate
from mmsearch.report.markup import Child, Html, tag
from mmsearch.types import Modality

#: Classes of colour of the features, in their order; they come again when there are more.
_COLOURS = ("c0", "c1", "c2", "c3", "c4", "c5")

#: How the modalities are called in the page.
MODALITIES: dict[str, str] = {
    Modality.TITLE: "title",
    Modality.ACCOUNT: "account name",
    Modality.COVER: "cover",
    Modality.COVER_OCR: "text on the cover",
    Modality.FRAMES: "frames",
    Modality.CONTENT_OCR: "text on screen",
    Modality.ASR: "speech",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page; `name` is its anchor."""

    name: str
    title: str
    body: tuple[Html, ...]


def colour(number: int) -> str:
    """Give the class of colour of a feature by its number."""
    return _COLOURS[number % len(_COLOURS)]


def prose(*children: Child) -> Html:
    """Give a paragraph."""
    return tag("p", *children)


def notice(*children: Child) -> Html:
    """Give a paragraph that says what is missing or odd."""
    return tag("p", *children, class_="notice")


def command(text: str) -> Html:
    """Give a command to type."""
    return tag("code", text)


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], caption: str) -> Html:
    """Give a table; the first column names the row. A phone shows each row as a block, with the heads at the cells."""
    heads = [tag("th", name, scope="col") for name in head]
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row")]
        cells += [tag("td", cell, data_head=name) for name, cell in zip(head[1:], row[1:], strict=True)]
        body.append(tag("tr", cells))
    return tag("table", tag("caption", caption), tag("thead", tag("tr", heads)), tag("tbody", body))


def panels(charts: Iterable[tuple[Child, Html]]) -> Html:
    """Give charts with their captions, several in a row where there is room."""
    figures = [tag("figure", tag("figcaption", caption), chart) for caption, chart in charts]
    return tag("div", figures, class_="panels")


def folded(summary: str, *children: Child) -> Html:
    """Give something that is unfolded with a click; only what is unfolded is printed."""
    return tag("details", tag("summary", summary), *children)


def number(value: float, digits: int = 2) -> str:
    """Write a number, or a dash where it is not defined."""
    return _typeset(f"{value:z.{digits}f}") if math.isfinite(value) else "–"


def signed(value: float, digits: int = 2) -> str:
    """Write a difference with its sign."""
    return _typeset(f"{value:+z.{digits}f}") if math.isfinite(value) else "–"


def _typeset(text: str) -> str:
    return text.replace("-", "−")


def interval(found: Interval, digits: int = 2, *, sign: bool = False) -> str:
    """Write an interval; nothing where it is not defined."""
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return ""
    write = signed if sign else number
    return f"{write(found.low, digits)}\u00a0…\u00a0{write(found.high, digits)}"


def with_interval(value: float, found: Interval, digits: int = 2, *, sign: bool = False) -> Html:
    """Write a number and its interval, which may stand in the next line."""
    between = interval(found, digits, sign=sign)
    small = tag("small", f" {between}") if between else None
    return tag("span", (signed if sign else number)(value, digits), small, class_="estimate")


def numbers_of(found: Estimate) -> tuple[float, Interval]:
    """Give a number of the diagnostics and its interval; NaN where it is not defined."""
    value, low, high = (float("nan") if n is None else n for n in (found.value, found.low, found.high))
    return value, Interval(low, high)


def estimate(found: Estimate, digits: int = 2, *, sign: bool = False) -> Html:
    """Write a number of the diagnostics and its interval."""
    return with_interval(*numbers_of(found), digits, sign=sign)


def percent(share: float, digits: int = 0) -> str:
    """Write a share as a percentage."""
    return f"{share:.{digits}%}" if math.isfinite(share) else "–"


def num_pairs(result: Result) -> int:
    """Give the number of pairs that a PNR is of; 0 where they were not counted."""
    pairs = result.pairs
    return 0 if pairs is None else pairs.concordant + pairs.discordant + pairs.tied


def pnr_mark(name: str, result: Result, shade: str) -> Mark:
    """Give the row of a forest plot for a PNR; without any pair or score there is no number."""
    if result.pairs is not None and num_pairs(result) == 0:
        nothing = float("nan")
        return Mark(name, nothing, nothing, nothing, "no pairs", shade)
    if not math.isfinite(result.value):
        return Mark(name, result.value, result.value, result.value, "no score", shade)
    shown = f"{number(result.value)}  ({interval(result.interval)})"
    return Mark(name, result.value, result.interval.low, result.interval.high, shown, shade)
