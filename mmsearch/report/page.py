"""The page: one file that holds all it needs and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from mmsearch.report.facts import Facts, Graded
from mmsearch.report.markup import Child, Html, foreign, join, tag
from mmsearch.report.sections.examples import examples
from mmsearch.report.sections.headline import headline, p_value, pnr_of
from mmsearch.report.sections.model import towers, training
from mmsearch.report.sections.origin import cost, origin
from mmsearch.report.sections.parts import Section, command, interval, notice, number, signed
from mmsearch.report.sections.scores import distributions, reliabilities
from mmsearch.report.sections.slices import grades, groups, presence, singles
from mmsearch.report.sections.usage import ablation

#: A blue square; without an icon of its own a page that is served asks the server for one.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Crect width='8' height='8' rx='2' fill='%230072b2'/%3E%3C/svg%3E"
)


def render(facts: Facts) -> str:
    """Draw the page.

    It loads nothing and runs nothing: a Content-Security-Policy lets in pictures that are part of the page and the one
    style sheet whose hash it names, and no script at all. Every text of others (titles, queries, ids …) is escaped.
    """
    style = files("mmsearch.report").joinpath("page.css").read_text(encoding="utf-8")
    sections = _sections(facts)
    title = f"Ranking report: {facts.name}"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href=_ICON),
        tag("title", title),
        Html(f"<style>{style}</style>"),
    ]
    body = [
        tag(
            "header",
            tag("p", "mmsearch", class_="brand"),
            tag("h1", "Ranking report ", foreign(facts.name, 60)),
            _summary(facts),
        ),
        _contents(sections),
        tag("main", [_drawn(section) for section in sections]),
        tag("footer", "Made by mmsearch report. This page is one file, works offline and sends nothing."),
    ]
    whole = tag("html", tag("head", head), tag("body", body), lang="en")
    return "<!doctype html>\n" + whole.text + "\n"


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


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


def _drawn(section: Section) -> Html:
    up = tag("a", "sections", href="#sections", class_="up")
    return tag("section", up, tag("h2", section.title), section.body, id=section.name)


def _contents(sections: Sequence[Section]) -> Html:
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ul", links), id="sections", aria_label="Sections")


def _summary(facts: Facts) -> Html:
    """Say the most important things in a few words, and warn of what does not belong together."""
    warnings = [notice(f"Not so: {check.what}.") for check in facts.lineage.checks if check.holds is False]
    if facts.graded is None:
        return join(warnings)
    return join([*warnings, _verdict(facts.graded), _tiles(facts.graded)])


def _verdict(graded: Graded) -> Html:
    mains = [one for one in graded.measured if one.source.name in graded.mains]
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
            luck = "more than luck" if one.is_significant else "which may be luck"
            between = interval(one.interval, sign=True)
            said.append(
                f" {one.a} − {one.b}: {signed(one.difference)} ({between}), {luck} (p\u00a0{p_value(one.p_holm)})."
            )
    return tag("p", said, class_="verdict")


def _tiles(graded: Graded) -> Html:
    first = graded.measured[0].evaluation
    served = [space for space in graded.storage.spaces if "." not in space.name]
    numbers = [
        (f"{first.num_queries:,}", f"queries, {first.num_judged:,} graded videos"),
        (f"{graded.storage.num_videos:,}", "videos in the index"),
        (f"{number(graded.latency.p50_ms)} ms", f"a call (median); 99 %: {number(graded.latency.p99_ms)} ms"),
        (f"{sum(space.bytes_per_video for space in served):,.0f} bytes", f"a video in {len(served)} spaces"),
    ]
    return tag("dl", [tag("div", tag("dd", value), tag("dt", name)) for value, name in numbers], class_="tiles")
