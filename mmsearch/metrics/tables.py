"""Results as rows to print and as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmsearch.metrics.results import Evaluation, Result


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
    row: dict[str, float | int | None] = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    if result.pairs is not None:
        pairs = result.pairs
        row |= {"concordant": pairs.concordant, "discordant": pairs.discordant, "tied": pairs.tied}
    return row | {"num_queries": result.num_queries}


def measure_rows(evaluations: Sequence[Evaluation], first: str) -> tuple[list[str], list[list[str]]]:
    """Give a head and a row for every evaluation; PNR comes with its interval.

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
            row += [number(result.value), _interval(result)] if result.pairs is not None else [number(result.value)]
        rows.append([*row, f"{evaluation.num_queries:,}", f"{evaluation.missing:.1%}"])
    return [*head, "queries", "missing"], rows


def grade_rows(name: str, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Give a head and a row for every pair of grades of one evaluation, see `by_grade`."""
    rows = []
    for result in results:
        pairs = result.pairs
        counts = [pairs.concordant, pairs.discordant, pairs.tied] if pairs else []
        rows.append([name, result.name, number(result.value), _interval(result), *(f"{count:,}" for count in counts)])
    return ["name", "grades", "pnr", "95 %", "concordant", "discordant", "tied"], rows


def number(value: float) -> str:
    """Give a number with four digits behind the point, or a dash where it is not defined."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def _interval(result: Result) -> str:
    return f"{number(result.interval.low)} … {number(result.interval.high)}"
