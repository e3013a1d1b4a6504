"""A comparison as tables, as Markdown, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from mmsearch.metrics.significance import Interval
from training.comparison.results import Outcome
from training.comparison.summary import Difference, Estimate, Summary

Outcomes = Mapping[str, Mapping[int, Outcome]]
Rows = list[list[str]]

_LEAST_P = 0.0001
_MISSED = "a smaller one is likely to be missed, and 'no difference seen' does not say that there is none"
_UNTESTED = "Power: differences can be tested from two seeds on that two variants share."
_HEAD = ["mean", "95 %", "against first", "95 %", "p", "p (Holm)", "detectable", "verdict"]


def main_table(summary: Summary, outcomes: Outcomes, num_seeds: int) -> tuple[list[str], Rows]:
    """Give a head and a row for every variant by one figure, with what it cost."""
    rows = []
    for label, estimate in summary.estimates.items():
        own = outcomes[label].values()
        minutes = [one.minutes for one in own if one.minutes is not None]
        sizes = sorted({one.parameters for one in own if one.parameters is not None})
        cost = [f"{fmean(minutes):.1f}" if minutes else "–", " / ".join(_millions(size) for size in sizes) or "–"]
        figures = [*estimated(estimate), *differing(summary, label)]
        rows.append([label, *figures, f"{estimate.num_seeds} of {num_seeds}", *cost])
    return [f"variant ({summary.metric})", *_HEAD, "seeds", "minutes", "parameters"], rows


def long_table(summaries: Sequence[Summary]) -> tuple[list[str], Rows]:
    """Give a head and a row for every figure of every variant; `× 1.02` is a quotient, `+0.02` a difference."""
    rows = []
    for summary in summaries:
        for label, estimate in summary.estimates.items():
            rows.append([summary.metric, label, *estimated(estimate), *differing(summary, label)])
    return ["figure", "variant", *_HEAD], rows


def notes(summary: Summary, num_seeds: int) -> list[str]:
    """Say what the intervals mean, what they do not cover, and what so few seeds could have shown."""
    lines = meanings(summary)
    lines.append(
        "Runs that keep their best weights are measured by the grades that chose them, which flatters all variants; "
        "the section `compare` of a settings file measures on others."
    )
    least = [one.detectable for one in summary.differences.values() if math.isfinite(one.detectable)]
    if least:
        shown = " to ".join(dict.fromkeys(_change(summary.is_ratio, value) for value in (min(least), max(least))))
        lines.append(
            f"Power: {num_seeds} seeds show a true difference of {shown} or more 4 times in 5 (column 'detectable'); "
            f"{_MISSED}."
        )
    elif summary.differences:
        lines.append(_UNTESTED)
    return lines


def meanings(summary: Summary) -> list[str]:
    """Say what means, intervals and tests are, and what they do not cover."""
    lines = []
    if summary.is_ratio:
        lines.append(
            f"{summary.metric} is a positive-to-negative ratio: means, intervals and tests are of its logarithm, so "
            "means are geometric and a difference is a quotient (× 1.02 = 2 % higher)."
        )
    lines.append(
        "Intervals (95 %) and tests are Student's t over seeds, paired by seed for differences; p-values are corrected "
        "for all variants by Holm's rule. They say how far another seed moves a figure. All runs are validated on the "
        "same queries: what other queries would say is not in them."
    )
    return lines


def power(summary: Summary) -> str:
    """Say of each variant which true difference its seeds could have shown; empty where nothing is compared."""
    known = {label: one.detectable for label, one in summary.differences.items() if math.isfinite(one.detectable)}
    if not known:
        return _UNTESTED if summary.differences else ""
    told = ", ".join(f"{label} {_change(summary.is_ratio, value)}" for label, value in known.items())
    return f"Power: the least true difference that these seeds show 4 times in 5, {summary.metric}: {told}; {_MISSED}."


def markdown(head: Sequence[str], rows: Rows) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def summary_json(summary: Summary) -> dict[str, Any]:
    """Give a summary as JSON can hold it; what is not defined is None."""
    variants: dict[str, Any] = {}
    for label, estimate in summary.estimates.items():
        ends = {"low": _finite(estimate.interval.low), "high": _finite(estimate.interval.high)}
        variants[label] = {"mean": _finite(estimate.value), **ends, "num_seeds": estimate.num_seeds}
        if label in summary.differences:
            variants[label]["difference"] = _difference_json(summary.differences[label])
    return {"is_ratio": summary.is_ratio, "variants": variants}


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Give a run as JSON can hold it."""
    values = {name: _finite(value) for name, value in outcome.values.items()}
    return {"values": values, "minutes": outcome.minutes, "parameters": outcome.parameters}


def _difference_json(one: Difference) -> dict[str, Any]:
    numbers = {
        "value": one.value,
        "low": one.interval.low,
        "high": one.interval.high,
        "p_value": one.p_value,
        "p_holm": one.p_holm,
        "detectable": one.detectable,
    }
    return {name: _finite(value) for name, value in numbers.items()} | {
        "num_pairs": one.num_pairs,
        "verdict": one.verdict,
    }


def estimated(estimate: Estimate) -> list[str]:
    """Give a mean and its interval as text."""
    return [_number(estimate.value), _interval(estimate.interval, _number)]


def differing(summary: Summary, label: str) -> list[str]:
    """Give as text how a variant differs from the first: change, interval, p, p (Holm), detectable, verdict."""
    one = summary.differences.get(label)
    if one is None:
        return [""] * 6

    def change(value: float) -> str:
        return _change(summary.is_ratio, value)

    p_values = [_p(one.p_value), _p(one.p_holm)]
    return [change(one.value), _interval(one.interval, change), *p_values, change(one.detectable), one.verdict]


def _interval(interval: Interval, shown: Any) -> str:
    return f"{shown(interval.low)} … {shown(interval.high)}" if math.isfinite(interval.low) else "–"


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "–"


def _change(is_ratio: bool, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"× {value:.3f}" if is_ratio else f"{value:+.4f}"


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.4f}" if value >= _LEAST_P else f"<{_LEAST_P:.4f}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
