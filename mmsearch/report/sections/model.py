"""The model itself: what each modality does for it, how it was trained, teacher against student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsearch.metrics import Interval
from mmsearch.report.charts import Line, Mark, forest, lines, span_of
from mmsearch.report.curves import Curve, Curves
from mmsearch.report.diagnostics import Change, Diagnostics, Estimate
from mmsearch.report.markup import Child, Html
from mmsearch.report.sections.parts import (
    MODALITIES,
    Section,
    colour,
    command,
    folded,
    interval,
    notice,
    number,
    panels,
    prose,
    signed,
    table,
    with_interval,
)
from mmsearch.types import Modality

_DIAGNOSE = "python -m training diagnose RUN --corpus CORPUS --judgments JUDGMENTS"
_KINDS = {"left_out": "left out", "shuffled": "shuffled"}


def ablation(found: Diagnostics | None) -> Section:
    """Give what happens to PNR when a modality is left out, and when it is shuffled among the videos."""
    title = "What the model uses"
    if found is None:
        told = notice("Not measured yet. It needs the model itself: ", command(_DIAGNOSE))
        return Section("ablation", title, (told,))
    marks = {
        (space, kind): [_mark(modality, change) for modality, change in getattr(told, kind).items()]
        for space, told in found.spaces.items()
        for kind in _KINDS
    }
    span = span_of((m for those in marks.values() for m in those), "change of PNR", 0.0, "nothing changes")
    charts = [
        (f"{space}: one modality {_KINDS[kind]}", forest(f"{space}, {kind}", m, span))
        for (space, kind), m in marks.items()
    ]
    body = (
        prose(
            "Left out: no video has the modality when it is scored. Shuffled: each video gets it from another one "
            f"({found.num_shuffles} shuffles, pooled), so that it is there and wrong. PNR with it minus PNR with "
            "everything in place: far below 0 stands what the model leans on, at 0 what it does not use, above 0 what "
            "does harm on these judgments."
        ),
        panels(charts),
        _ablation_numbers(found),
    )
    return Section("ablation", title, body)


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
            change = _estimate(pair.change, change=True)
            rows.append([space, _estimate(pair.teacher), _estimate(pair.student), change])
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
    return "c4" if tower == "teacher" else "c3"


def _mark(modality: Modality, change: Change) -> Mark:
    value, between = _numbers(change.change)
    shown = f"{signed(value)}  ({interval(between, sign=True)})"
    return Mark(MODALITIES[modality], value, between.low, between.high, shown, "c4")


def _ablation_numbers(found: Diagnostics) -> Html:
    rows: list[Sequence[Child]] = []
    for space, told in found.spaces.items():
        rows.append([f"{space} · everything in place", _estimate(told.whole), "–", "–"])
        for kind, named in _KINDS.items():
            for modality, change in getattr(told, kind).items():
                cells: list[Child] = [
                    _estimate(change.pnr),
                    _estimate(change.change, change=True),
                    f"{change.num_videos:,}",
                ]
                rows.append([f"{space} · {MODALITIES[modality]} {named}", *cells])
    caption = f"PNR on {found.num_queries:,} queries, {found.num_judged:,} graded videos"
    return folded("Numbers", table(["space · modality", "PNR", "change", "videos that have it"], rows, caption))


def _estimate(estimate: Estimate, *, change: bool = False) -> Html:
    value, between = _numbers(estimate)
    return with_interval(value, between, sign=change)


def _numbers(estimate: Estimate) -> tuple[float, Interval]:
    value, low, high = (float("nan") if n is None else n for n in (estimate.value, estimate.low, estimate.high))
    return value, Interval(low, high)
