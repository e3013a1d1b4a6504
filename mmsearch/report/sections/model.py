"""The model itself: how it was trained, and its teacher against its student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsearch.report.charts import Line, lines
from mmsearch.report.curves import Curve, Curves
from mmsearch.report.diagnostics import Diagnostics
from mmsearch.report.markup import Child, Html
from mmsearch.report.sections.parts import (
    Section,
    colour,
    estimate,
    notice,
    number,
    panels,
    prose,
    signed,
    table,
)


def training(curves: Curves) -> Section:
    """Give the curves of the run with its stages marked."""
    title = "Training"
    if not curves.train and not curves.validation:
        return Section("training", title, (notice("The run has no metrics.jsonl: there is nothing to draw."),))
    charts: list[tuple[Child, Html]] = []
    for space, line in _by_space(curves.validation).items():
        drawn = [Line(tower, curve, _tower_colour(tower), tower == "teacher") for tower, curve in line.items()]
        charts.append(
            (f"Validation PNR: {space}", lines(f"Validation PNR of {space}", drawn, curves.stages, reference=1.0))
        )
    for name, caption in (("loss", "Training loss"), ("lr", "Learning rate"), ("grad_norm", "Norm of the gradient")):
        if name in curves.train:
            one = [Line(name, curves.train[name], "c5")]
            charts.append((caption, lines(caption, one, curves.stages)))
    distances = {name.partition("/")[2]: curve for name, curve in curves.train.items() if name.startswith("distil/")}
    if distances:
        drawn = [Line(space, curve, colour(i)) for i, (space, curve) in enumerate(distances.items())]
        charts.append(
            ("Distance of student and teacher", lines("Distance of student and teacher", drawn, curves.stages))
        )
    told = (
        "Shaded bands are the stages. Each has its own objective, so losses of different stages cannot be compared. "
        "The dashed line in the charts of PNR is chance."
    )
    return Section("training", title, (prose(told), panels(charts)))


def towers(curves: Curves, found: Diagnostics | None) -> Section:
    """Give teacher against student: on the validation grades, and on those of the diagnostics with intervals."""
    spaces = {s: both for s, both in _by_space(curves.validation).items() if {"teacher", "student"} <= both.keys()}
    body = []
    if found is not None and found.towers:
        rows: list[Sequence[Child]] = []
        for space, pair in found.towers.items():
            rows.append([space, estimate(pair.teacher), estimate(pair.student), estimate(pair.change, sign=True)])
        body.append(
            table(
                ["space", "teacher", "student", "student − teacher"],
                rows,
                f"PNR on {found.num_queries:,} queries of the diagnostics, with 95 % intervals",
            )
        )
    if spaces:
        rows = []
        for space, both in spaces.items():
            teacher, student = both["teacher"].values[-1], both["student"].values[-1]
            rows.append([space, number(teacher), number(student), signed(student - teacher)])
        body.append(
            table(
                ["space", "teacher", "student", "student − teacher"], rows, "PNR at the last validation of the training"
            )
        )
    if not body:
        body = [notice("The run has no validation of both towers.")]
    told = (
        "The teacher is deep and only trains; the student is served. What the student loses is the price of its speed."
    )
    return Section("towers", "Teacher and student", (prose(told), *body))


def _by_space(validation: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    found: dict[str, dict[str, Curve]] = {}
    for name, curve in validation.items():
        tower, _, space = name.partition("/")
        found.setdefault(space or "all", {})[tower] = curve
    return found


def _tower_colour(tower: str) -> str:
    return {"teacher": "c4", "cross": "c1"}.get(tower, "c3")
