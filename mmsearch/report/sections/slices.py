"""PNR of parts: groups of queries, pairs of grades, presence of modalities, and one modality alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mmsearch.metrics.results import Result
from mmsearch.report.charts import Mark, forest, span_of
from mmsearch.report.facts import Graded
from mmsearch.report.markup import Child, Html, tag
from mmsearch.report.sections.headline import pnr_of
from mmsearch.report.sections.parts import (
    MODALITIES,
    Section,
    colour,
    folded,
    notice,
    num_pairs,
    number,
    panels,
    percent,
    pnr_mark,
    prose,
    table,
    with_interval,
)
from mmsearch.types import Modality

_WHICH = {"both": "both have it", "one": "one has it", "neither": "neither"}
#: A smaller share of the pairs tells little, and its wide interval would press all others together.
_LEAST_SHARE = 0.05


def groups(graded: Graded) -> Section:
    """Give PNR by language and length of the query."""
    named = {feature: [(result.name, result) for result in found] for feature, found in graded.groups.items()}
    body = [
        prose(
            "By language of the query (zh: it holds a Chinese character; en: Latin letters) and, within a language, "
            "by its length in thirds: characters of Chinese queries, words of others."
        ),
        _draw(named),
        _numbers(named, "group"),
    ]
    return Section("groups", "By query", tuple(body))


def grades(graded: Graded) -> Section:
    """Give PNR by pair of grades."""
    sliced = {one.source.name: one.grades for one in graded.measured if one.source.name in graded.mains}
    named = {
        feature: [(f"grade {r.name.replace('>', ' before ')}", r) for r in found] for feature, found in sliced.items()
    }
    body = [
        prose("How well each feature tells one grade from another. Neighbouring grades are the hard ones."),
        _draw(named),
        _numbers(named, "grades"),
    ]
    return Section("grades", "By pair of grades", tuple(body))


def presence(graded: Graded) -> Section:
    """Give PNR by presence of each modality."""
    if not graded.presence:
        missing = notice("Nothing is known of the videos: give --corpus (or --videos) to see this.")
        return Section("presence", "With and without each modality", (missing,))
    named = {f: [(_presence(r.name), r) for r in found] for f, found in graded.presence.items()}
    shares = ", ".join(f"{MODALITIES[name]} {percent(share)}" for name, share in graded.share_present.items())
    body = [
        prose(
            "PNR over the pairs of videos of which both have a modality, one has it, or neither; together these are "
            "all pairs. Where one has it, the feature must compare a video that shows more with one that shows less; "
            "a video without any score in a feature ranks last. The rows hold different pairs, and some pairs are "
            "easier: what a modality brings to the same pairs is seen where it is left out ",
            tag("a", "(what the model uses)", href="#ablation"),
            f". Rows of less than {percent(_LEAST_SHARE)} of the pairs are in the numbers alone.",
        ),
        prose(f"Judged videos that have it: {shares}."),
        _draw({feature: _of_many_pairs(rows) for feature, rows in named.items()}),
        _numbers(named, "pairs"),
    ]
    if graded.num_unknown:
        body.append(notice(f"{graded.num_unknown:,} judged videos are not in the corpus; they count as lacking all."))
    return Section("presence", "With and without each modality", tuple(body))


def singles(graded: Graded) -> Section:
    """Give what each modality is worth alone: the single-modality spaces of the index."""
    title = "What each modality is worth alone"
    alone = [one for one in graded.measured if one.source.name not in graded.mains]
    if not alone:
        told = "The index has no single-modality spaces; refresh it with single_modalities=true to see this."
        return Section("alone", title, (notice(told),))
    marks = [pnr_mark(_alone(one.source.name), pnr_of(one), "c3") for one in alone]
    whole = [one for one in graded.measured if one.source.name == alone[0].source.name.split(".")[0]]
    marks = sorted(marks, key=lambda mark: (math.isnan(mark.value), -mark.value))
    marks = [pnr_mark(f"{one.source.name}: all together", pnr_of(one), "c5") for one in whole] + marks
    chart = forest("PNR of each modality alone", marks, span_of(marks, "PNR", 1.0, "chance", log=True))
    rows: list[Sequence[Child]] = []
    for one in alone:
        pnr = pnr_of(one)
        rows.append(
            [_alone(one.source.name), with_interval(pnr.value, pnr.interval), percent(1 - one.evaluation.missing)]
        )
    body = (
        prose(
            "The content tower reads one modality of each video and nothing else. Videos that lack it rank last, so "
            "a modality that few videos have is worth little alone, however good it is."
        ),
        panels([("PNR of one modality alone", chart)]),
        folded("Numbers", table(["modality", "PNR", "judged videos with a score"], rows, "One modality alone")),
    )
    return Section("alone", title, body)


def _alone(name: str) -> str:
    modality = name.partition(".")[2]
    return MODALITIES.get(modality, modality)


def _of_many_pairs(rows: Sequence[tuple[str, Result]]) -> list[tuple[str, Result]]:
    """Leave out the slices of few pairs; the three of each modality hold all pairs."""
    total = sum(num_pairs(result) for _, result in rows) / len(Modality)
    return [(name, result) for name, result in rows if num_pairs(result) > _LEAST_SHARE * total]


def _presence(name: str) -> str:
    modality, _, which = name.partition(": ")
    return f"{MODALITIES[modality]}: {_WHICH[which]}"


def _draw(named: Mapping[str, Iterable[tuple[str, Result]]]) -> Html:
    """Draw a forest plot for every feature, all on one axis."""
    marks: dict[str, list[Mark]] = {
        feature: [pnr_mark(name, result, colour(i)) for name, result in found]
        for i, (feature, found) in enumerate(named.items())
    }
    span = span_of((mark for those in marks.values() for mark in those), "PNR", 1.0, "chance", log=True)
    return panels((feature, forest(f"PNR of {feature}", those, span)) for feature, those in marks.items())


def _numbers(named: Mapping[str, Iterable[tuple[str, Result]]], head: str) -> Html:
    """Give the numbers behind the charts, with pairs and queries."""
    rows: list[Sequence[Child]] = []
    for feature, found in named.items():
        for name, result in found:
            total = num_pairs(result)
            value = with_interval(result.value, result.interval) if total else number(float("nan"))
            rows.append([f"{feature} · {name}", value, f"{total:,}", f"{result.num_queries:,}"])
    return folded("Numbers", table([f"feature · {head}", "PNR", "pairs", "queries"], rows, f"PNR by {head}"))
