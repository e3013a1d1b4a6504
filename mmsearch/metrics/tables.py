"""Results as rows to print and as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmsearch.metrics.contrasts import Contrast
from mmsearch.metrics.results import Evaluation, Result
from mmsearch.metrics.significance import Interval

#: The least p-value that four digits can show.
_LEAST_P = 0.0001
#: Comparisons that a note names before it only counts them.
_MOST_NAMED = 3
#: Nobody judges so many queries: a note does not name a number beyond.
_UNREACHABLE = 1e7


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Give an evaluation as JSON can hold it: measures by name; what is not defined is None.

    Every measure has `value`, `low`, `high` (95 % interval) and `num_queries`; PNR has `concordant`, `discordant` and
    `tied` too. `missing` is the share of judged rows without a usable score.
    """
    counts = {"num_queries": evaluation.num_queries, "num_judged": evaluation.num_judged}
    measures = {result.name: result_json(result) for result in evaluation.results}
    return measures | counts | {"missing": evaluation.missing}


def result_json(result: Result) -> dict[str, float | int | None]:
    """Give one measure as JSON can hold it."""
    numbers = {"value": result.value, "low": result.interval.low, "high": result.interval.high}
    row: dict[str, float | int | None] = {k: _finite(v) for k, v in numbers.items()}
    if result.pairs is not None:
        pairs = result.pairs
        row |= {"concordant": pairs.concordant, "discordant": pairs.discordant, "tied": pairs.tied}
    return row | {"num_queries": result.num_queries}


def contrast_json(contrast: Contrast) -> dict[str, str | float | int | None]:
    """Give one comparison as JSON can hold it; what is not defined is None."""
    numbers = {
        "difference": contrast.difference,
        "low": contrast.interval.low,
        "high": contrast.interval.high,
        "p_value": contrast.p_value,
        "p_holm": contrast.p_holm,
        "detectable": contrast.detectable,
        "queries_needed": contrast.queries_needed,
    }
    names: dict[str, str | float | int | None] = {"measure": contrast.measure, "a": contrast.a, "b": contrast.b}
    counts = {"num_queries": contrast.num_queries, "family_size": contrast.family_size}
    return names | {k: _finite(v) for k, v in numbers.items()} | counts


def measure_rows(evaluations: Sequence[Evaluation], first: str) -> tuple[list[str], list[list[str]]]:
    """Give a head and a row for every evaluation. PNR comes with its 95 % interval, and the others, whose intervals
    are nearly even, with half the width of theirs.

    Args:
        evaluations: at least one, all with the same measures.
        first: head of the first column, such as `feature`.
    """
    head = [first]
    for result in evaluations[0].results:
        head += [result.name, "95 %"] if result.pairs is not None else [result.name]
    rows = []
    for evaluation in evaluations:
        row = [evaluation.name]
        for result in evaluation.results:
            row += [number(result.value), _interval(result.interval)] if result.pairs is not None else [_about(result)]
        rows.append([*row, f"{evaluation.num_queries:,}", f"{evaluation.missing:.1%}"])
    return [*head, "queries", "missing"], rows


def long_measure_rows(evaluations: Sequence[Evaluation], first: str) -> tuple[list[str], list[list[str]]]:
    """Give the same as `measure_rows`, a row for every measure of every evaluation: for narrow windows."""
    rows = []
    for evaluation in evaluations:
        for result in evaluation.results:
            numbers = [number(result.value), _interval(result.interval), f"{result.num_queries:,}"]
            rows.append([evaluation.name, result.name, *numbers, f"{evaluation.missing:.1%}"])
    return [first, "measure", "value", "95 %", "queries", "missing"], rows


def width(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Give the characters in a line of a table, three for each border."""
    return 1 + sum(3 + max(map(len, column)) for column in zip(head, *rows, strict=True))


def grade_rows(name: str, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Give a head and a row for every pair of grades of one evaluation, see `by_grade`."""
    rows = []
    for result in results:
        pairs = result.pairs
        counts = [pairs.concordant, pairs.discordant, pairs.tied] if pairs else []
        rows.append(
            [name, result.name, number(result.value), _interval(result.interval), *(f"{count:,}" for count in counts)]
        )
    return ["name", "grades", "pnr", "95 %", "concordant", "discordant", "tied"], rows


def number(value: float) -> str:
    """Give a number with four digits behind the point, or a dash where it is not defined."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def contrast_rows(contrasts: Sequence[Contrast]) -> tuple[list[str], list[list[str]]]:
    """Give a head and a row for every comparison, measure by measure."""
    measures = list(dict.fromkeys(one.measure for one in contrasts))
    rows = []
    for one in sorted(contrasts, key=lambda one: measures.index(one.measure)):
        p_values = [f"{p:.4f}" if p >= _LEAST_P else f"<{_LEAST_P:.4f}" for p in (one.p_value, one.p_holm)]
        numbers = [_signed(one.difference), _interval(one.interval, signed=True), *p_values, number(one.detectable)]
        rows.append([f"{one.a} − {one.b}", one.measure, *numbers])
    return ["comparison", "measure", "difference", "95 %", "p", "p (Holm)", "detectable"], rows


def power_lines(contrasts: Sequence[Contrast]) -> list[str]:
    """Say, a line for each measure, which differences are smaller than the queries can show, and how many would do.

    What they can show is another number for each comparison: the more two systems differ in what they do, the larger.
    """
    lines = []
    for measure in dict.fromkeys(one.measure for one in contrasts):
        own = [one for one in contrasts if one.measure == measure]
        small = [one for one in own if not one.is_significant and abs(one.difference) < one.detectable]
        if small:
            lines.append(
                f"{measure}: {small[0].num_queries:,} queries are too few (power 0.8) for "
                + "; ".join(map(_needed, small[:_MOST_NAMED]))
                + (f"; and {len(small) - _MOST_NAMED} more" if len(small) > _MOST_NAMED else "")
            )
    return lines


def family_lines(contrasts: Sequence[Contrast]) -> list[str]:
    """Say what `p (Holm)` is corrected for, where that is not just the comparisons that are shown."""
    families = dict.fromkeys((one.family_size, one.family) for one in contrasts)
    if [size for size, _ in families] in ([], [len(contrasts)]):
        return []
    told = []
    for size, family in families:
        shown = sum((one.family_size, one.family) == (size, family) for one in contrasts)
        why = "; the best was found by looking at them all" if shown < size else ""
        told.append(f"{size:,} {'comparison' if size == 1 else 'comparisons'} ({family}{why})")
    return [f"p (Holm) is p corrected for {' and, apart from them, for '.join(told)}"]


def _needed(one: Contrast) -> str:
    needed = one.queries_needed
    pair = f"{one.a} − {one.b} ({_signed(one.difference)}, where they show {one.detectable:.2g} or more"
    return f"{pair}; needs about {float(f'{needed:.2g}'):,.0f})" if needed < _UNREACHABLE else f"{pair})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "–"


def _about(result: Result) -> str:
    if not math.isfinite(result.value):
        return number(result.value)
    return f"{result.value:.4f} ± {(result.interval.high - result.interval.low) / 2:.4f}"


def _interval(interval: Interval, *, signed: bool = False) -> str:
    return " … ".join(_signed(end) if signed else number(end) for end in (interval.low, interval.high))
