"""The report of `mmsearch evaluate`: every input measured, as JSON and as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmsearch.metrics import tables
from mmsearch.metrics.contrasts import Contrast, contrast
from mmsearch.metrics.inputs import Input
from mmsearch.metrics.join import ODDITIES
from mmsearch.metrics.measures import Table
from mmsearch.metrics.results import Evaluation, Result, by_grade, evaluate


@dataclass(frozen=True, slots=True)
class Measured:
    """An input and its measures; `grades` is empty unless it was asked for."""

    source: Input
    evaluation: Evaluation
    grades: list[Result]


def default_relevant(inputs: Sequence[Input]) -> int:
    """Give the least relevant grade where none was named: 2, or 1 when no grade is above 1."""
    return 2 if max(int(one.scored.grades.max(initial=0)) for one in inputs) >= 2 else 1


def measure(
    inputs: Sequence[Input],
    measures: Sequence[str],
    *,
    relevant: int,
    grade_pairs: bool = False,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[Measured]:
    """Measure every input.

    Args:
        inputs: the scored tables.
        measures: names, see `mmsearch.metrics.measures`.
        relevant: least grade that counts as relevant.
        grade_pairs: give the PNR of every pair of grades too.
        resamples: bootstrap samples of the queries.
        seed: of the bootstrap.

    Raises:
        ConfigError: a measure cannot take the grades of an input.
    """
    found = []
    for one in inputs:
        table = Table(one.scored, relevant=relevant)
        label = one.name if one.group is None else f"{one.name} / {one.group}"
        evaluation = evaluate(label, table, measures, resamples=resamples, seed=seed)
        grades = by_grade(table, resamples=resamples, seed=seed) if grade_pairs else []
        found.append(Measured(one, evaluation, grades))
    return found


def report_json(measured: Sequence[Measured], kind: str, contrasts: Sequence[Contrast] = ()) -> dict[str, Any]:
    """Give `runs` or `features` by name, each with its measures by name, and `comparisons`.

    `groups` and `by_grade` stand inside where they were asked for.
    """
    report: dict[str, Any] = {}
    for one in measured:
        value = tables.as_json(one.evaluation) | {"oddities": one.source.oddities}
        if one.grades:
            value["by_grade"] = {result.name: tables.result_json(result) for result in one.grades}
        if one.source.group is None:
            report[one.source.name] = value
        else:
            report[one.source.name].setdefault("groups", {})[one.source.group] = value
    return {f"{kind}s": report, "comparisons": [tables.contrast_json(one) for one in contrasts]}


def compare(
    measured: Sequence[Measured],
    kind: str,
    which: str | None,
    *,
    measures: int | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> list[Contrast]:
    """Compare runs or features over all of their rows, see `contrast`; groups are left out.

    Args:
        measured: the runs or features.
        kind: `run` or `feature`.
        which: as for `contrast`, or `none`. None: every pair of runs by every measure; of features, which are many,
            the best with each other one by the first measure.
        measures: by how many of the measures, from the first; None = by all.
        permutations: random swaps of the randomisation test.
        seed: of the random numbers.

    Raises:
        ConfigError: `which` is no such thing.
    """
    if which == "none":
        return []
    wholes = [one.evaluation for one in measured if one.source.group is None]
    if which is None and kind == "feature":
        return contrast(wholes, "best", measures=1, permutations=permutations, seed=seed)
    return contrast(wholes, which or "all", measures=measures, permutations=permutations, seed=seed)


def report_tables(
    measured: Sequence[Measured], kind: str, contrasts: Sequence[Contrast] = (), *, width: int | None = None
) -> list[tuple[list[str], list[list[str]]]]:
    """Give tables of text, each a head and rows: the measures, the pairs of grades where asked for, comparisons.

    Where the measures do not stand side by side in `width` characters, they stand below each other.
    """
    evaluations = [one.evaluation for one in measured]
    wide = tables.measure_rows(evaluations, kind)
    fits = width is None or tables.width(*wide) <= width
    found = [wide if fits else tables.long_measure_rows(evaluations, kind)]
    with_grades = [one for one in measured if one.grades]
    if with_grades:
        head, _ = tables.grade_rows("", [])
        rows = [row for one in with_grades for row in tables.grade_rows(one.evaluation.name, one.grades)[1]]
        found.append(([kind, *head[1:]], rows))
    if contrasts:
        found.append(tables.contrast_rows(contrasts))
    return found


def note_lines(measured: Sequence[Measured], contrasts: Sequence[Contrast] = ()) -> list[str]:
    """Say what the figures rest on, what is compared, what the queries are too few for, and what was unusual in the
    inputs, a line for each kind."""
    compared = [*tables.family_lines(contrasts), *tables.power_lines(contrasts)]
    return [*_query_lines(measured), *_scoreless_lines(measured), *compared, *oddity_lines(measured)]


def _query_lines(measured: Sequence[Measured]) -> list[str]:
    """Say on how many queries the measures rest, where these are not all judged ones. That is a matter of the grades
    alone, and so the same for all that is measured on them."""
    whole = next((one.evaluation for one in measured if one.source.group is None), None)
    if whole is None:
        return []
    rest: dict[int, list[str]] = {}
    for result in whole.results:
        if result.num_queries < whole.num_queries:
            rest.setdefault(result.num_queries, []).append(result.name)
    told = "; ".join(f"{', '.join(names)}: on {count:,}" for count, names in rest.items())
    why = "the others have no pair of different grades, or nothing relevant"
    return [f"{told} of {whole.num_queries:,} judged queries; {why}"] if told else []


def _scoreless_lines(measured: Sequence[Measured]) -> list[str]:
    """Name what has no score at all."""
    wholes = [one.evaluation for one in measured if one.source.group is None]
    names = [one.name for one in wholes if not one.has_scores]
    return [f"{', '.join(names)}: without any score: no PNR, and in no comparison"] if names else []


def oddity_lines(measured: Sequence[Measured]) -> list[str]:
    """Say what was unusual in the inputs, a line for each kind."""
    wholes = [one.source for one in measured if one.source.group is None]
    lines = []
    for name, meaning in ODDITIES.items():
        found = {source.name: source.oddities.get(name, 0) for source in wholes}
        if len(set(found.values())) == 1:
            found = {"": next(iter(found.values()))}
        numbers = ", ".join(
            f"{source}: {count:,}" if source else f"{count:,}" for source, count in found.items() if count
        )
        if numbers:
            lines.append(f"{numbers} {meaning}")
    return lines
