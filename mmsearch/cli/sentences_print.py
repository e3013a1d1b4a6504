"""The summary of grades as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

_PIPE_WIDTH = 200


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print what `summarise` gives."""
    for line in _about(summary["sheet"], summary["human"]["graded"]):
        typer.echo(line)
    human = summary["human"]
    if human["graded"]:
        _print_human("Grades of people", human)
        for language, part in human["languages"].items():
            _print_human(f"Grades of people: {language}", part)
    else:
        typer.echo("Nothing is graded yet: no video has all its grades.")
    _print_proxy(summary["proxy"])
    if human["graded"]:
        _print_trust(summary["trust"])


def _about(sheet: Mapping[str, Any], graded: int) -> Iterator[str]:
    drawn = sheet["drawn_from"]
    languages = ", ".join(f"{count} {name}" for name, count in sheet["languages"].items())
    eligible = sum(drawn["eligible"].values())
    yield f"{sheet['videos']} videos ({languages}) of {eligible:,} that have a title and more to say than the budget"
    yield f"{graded} of them are graded; both methods chose the same for {sheet['same']}"
    for name, count in sheet["fallbacks"].items():
        if count:
            yield f"note: {name} fell back to greedy for {count} of {sheet['videos']} videos"


def _print_human(title: str, human: Mapping[str, Any]) -> None:
    rows = [
        [name, _percent(found["good"]), _number(found["mean"]), " / ".join(map(str, found["grades"]))]
        for name, found in human["methods"].items()
    ]
    rows.append(
        ["difference", _percent(human["difference"], signed=True), "", _p_value(human["difference"]["p_value"])]
    )
    _print_table(title, ["method", "grade 2", "mean grade", "grades 0 / 1 / 2"], rows)


def _print_proxy(proxy: Mapping[str, Any]) -> None:
    measures = list(proxy["differences"])
    rows = [[name, *(_number(found[m]) for m in measures)] for name, found in proxy["methods"].items()]
    rows.append(["difference", *(_number(found, signed=True) for found in proxy["differences"].values())])
    rows.append(["", *(_p_value(found["p_holm"]) for found in proxy["differences"].values())])
    _print_table("Proxy, all videos of the sheet", ["method", *(name.replace("_", " ") for name in measures)], rows)


def _print_trust(trust: Mapping[str, Any]) -> None:
    rows = []
    for name, found in trust.items():
        same = found["same_preference"]
        rows.append([name.replace("_", " "), _number(found["spearman"], signed=True), _percent(same), str(same["num"])])
    head = ["proxy", "Spearman with grades", "prefers the same", "of videos with a preference"]
    _print_table("How far the proxy goes with people", head, rows)


def _print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:  # cut to the width of a pipe, a table would lose its numbers
        console = Console(width=_PIPE_WIDTH)
    table = Table(title=title, title_justify="left")
    for column, name in enumerate(head):
        table.add_column(name, justify="left" if column == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _percent(found: Mapping[str, Any], *, signed: bool = False) -> str:
    return _with_interval(found, lambda value: f"{100 * value:{'+' if signed else ''}.0f}", " %")


def _number(found: Mapping[str, Any], *, signed: bool = False) -> str:
    return _with_interval(found, lambda value: f"{value:{'+' if signed else ''}.2f}", "")


def _with_interval(found: Mapping[str, Any], shown: Callable[[float], str], unit: str) -> str:
    if found["value"] is None:
        return "-"
    if found["low"] is None or found["high"] is None:
        return f"{shown(found['value'])}{unit}"
    return f"{shown(found['value'])}{unit} [{shown(found['low'])}, {shown(found['high'])}]"


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
