"""The page: one file that holds all it needs and asks nobody for anything."""

from __future__ import annotations

import math

from mmsearch.report.document import contents, document, drawn
from mmsearch.report.facts import Facts, Graded
from mmsearch.report.markup import Child, Html, foreign, join, tag
from mmsearch.report.sections.examples import examples
from mmsearch.report.sections.headline import headline, in_words, pnr_of
from mmsearch.report.sections.model import towers, training
from mmsearch.report.sections.origin import cost, origin
from mmsearch.report.sections.parts import Section, command, interval, notice, number
from mmsearch.report.sections.scores import distributions, reliabilities
from mmsearch.report.sections.slices import grades, groups, presence, singles
from mmsearch.report.sections.usage import ablation


def render(facts: Facts) -> str:
    """Draw the page.

    It loads nothing and runs nothing, see `document`. Every text of others (titles, queries, ids …) is escaped.
    """
    sections = _sections(facts)
    body = [
        tag(
            "header",
            tag("p", "mmsearch", class_="brand"),
            tag("h1", "Ranking report ", foreign(facts.name, 60)),
            _summary(facts),
        ),
        contents(sections),
        tag("main", [drawn(section) for section in sections]),
        tag("footer", "Made by mmsearch report. This page is one file, works offline and sends nothing."),
    ]
    return document(f"Ranking report: {facts.name}", body)


def _sections(facts: Facts) -> list[Section]:
    graded, found = facts.graded, facts.diagnostics
    model = [ablation(found), training(facts.curves), towers(facts.curves, found)]
    if graded is None:
        told = notice("Nothing was measured: give ", command("--index INDEX --judgments FILE"), " to see how it ranks.")
        return [Section("ranking", "How well it ranks", (told,)), *model, origin(facts.lineage)]
    return [
        headline(graded),
        groups(graded),
        grades(graded),
        presence(graded),
        singles(graded),
        *model,
        distributions(graded),
        reliabilities(graded),
        examples(graded.wins),
        cost(graded),
        origin(facts.lineage),
    ]


def _summary(facts: Facts) -> Html:
    """Say the most important things in a few words, and warn of what does not belong together."""
    warnings = [notice(f"Not so: {check.what}.") for check in facts.lineage.checks if check.holds is False]
    if facts.graded is None:
        return join(warnings)
    return join([*warnings, _verdict(facts.graded), _tiles(facts.graded)])


def _verdict(graded: Graded) -> Html:
    mains = [one for one in graded.measured if one.source.name in graded.mains]
    mains = [one for one in mains if math.isfinite(pnr_of(one).value)]
    if not mains:
        return notice("There is no PNR: no two graded videos of a query have different grades and a score.")
    best = max(mains, key=lambda one: pnr_of(one).value)
    pnr = pnr_of(best)
    said: list[Child] = [
        tag("b", best.source.name),
        f" ranks best: for every pair of videos that it puts in the wrong order, it puts {number(pnr.value)} in the ",
        f"right one (PNR, 95 % interval {interval(pnr.interval)}; 1 is chance).",
    ]
    wins = graded.wins
    for one in graded.contrasts:
        if wins is not None and (one.a, one.b) == (wins.challenger, wins.baseline):
            said.append(f" {one.a} − {one.b}: {in_words(one)}.")
    return tag("p", said, class_="verdict")


def _tiles(graded: Graded) -> Html:
    first, disk = graded.measured[0].evaluation, graded.storage
    numbers = [
        (f"{first.num_queries:,}", f"queries, {first.num_judged:,} graded videos"),
        (f"{disk.num_videos:,}", "videos in the index"),
        (f"{number(graded.latency.p50_ms)} ms", f"a call (median); 99 %: {number(graded.latency.p99_ms)} ms"),
        (f"{number(disk.bytes_per_video, 1)} bytes", f"a video in {len(disk.spaces)} spaces, with its id"),
    ]
    return tag("dl", [tag("div", tag("dd", value), tag("dt", name)) for value, name in numbers], class_="tiles")
