"""The page of a final ranker: what each feature adds, which ones it reads, when learning stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mmsearch.metrics import Contrast
from mmsearch.metrics.report import Measured
from mmsearch.ranking.feature_sets import ALL, BASELINE
from mmsearch.ranking.fitting import Fitted
from mmsearch.report.charts import Bar, Line, Mark, forest, lines, shares, span_of, widest
from mmsearch.report.curves import Curve
from mmsearch.report.document import contents, document, drawn
from mmsearch.report.markup import Child, Html, foreign, join, tag
from mmsearch.report.sections.headline import contrast_table, in_words, pnr_of
from mmsearch.report.sections.parts import (
    Section,
    colour,
    folded,
    interval,
    notice,
    number,
    panels,
    percent,
    pnr_mark,
    prose,
    signed,
    table,
    with_interval,
)

#: Letters of a name that find room above a bar.
_MAX_LABEL = 24
#: Points of a curve that a small chart can show.
_MAX_POINTS = 300


def render(fitted: Fitted, name: str) -> str:
    """Draw the page of a ranker called `name`. It loads nothing and runs nothing, see `document`."""
    sections = [_figures(fitted), _shares(fitted), _learning(fitted), _origin(fitted)]
    body = [
        tag(
            "header",
            tag("p", "mmsearch", class_="brand"),
            tag("h1", "Final ranker ", foreign(name, 60)),
            tag("p", _verdict(fitted), class_="verdict"),
            [notice(f"Note: {note}.") for note in fitted.notes],
        ),
        contents(sections),
        tag("main", [drawn(section) for section in sections]),
        tag("footer", "Made by mmsearch rank fit. This page is one file, works offline and sends nothing."),
    ]
    return document(f"Final ranker: {name}", body)


def _verdict(fitted: Fitted) -> list[Child]:
    """Say the most important things in a few words."""
    pnr = pnr_of(fitted.measured[0])
    said: list[Child] = [
        "For every pair of videos that it puts in the wrong order, the ranker puts ",
        tag("b", number(pnr.value)),
        f" in the right one (PNR, 95 % interval {interval(pnr.interval)}; 1 is chance).",
    ]
    for one in fitted.contrasts:
        if one.a == ALL:
            said.append(f" Against {_named(one.b)}: {in_words(one)}.")
    return said


def _named(name: str) -> str:
    return "the baseline" if name == BASELINE else name


def _figures(fitted: Fitted) -> Section:
    told, seeds = fitted.told, fitted.told.settings["num_seeds"]
    members = ", ".join(fitted.baseline) or "no feature: all videos level"
    text = (
        f"Measured on {told.counts['measured_queries']:,} queries with {told.counts['measured_judgments']:,} graded "
        f"videos ({told.figures['measured_on']}); figures are means over {seeds} fits. The baseline reads: {members}."
    )
    rows = [[one.source.name, *_cells(one)] for one in fitted.measured]
    head = ["features", *("PNR" if r.name == "pnr" else r.name for r in fitted.measured[0].evaluation.results)]
    whole, added = _families(fitted.contrasts)
    body = [
        prose(text),
        panels(_charts(fitted.measured, added)),
        table(head, rows, "Measures with 95 % intervals (bootstrap over queries)."),
        tag("h3", "Is the whole ranker better?"),
        contrast_table(whole),
        [tag("h3", "What does each feature add to the baseline?"), contrast_table(added)] if added else None,
    ]
    return Section("figures", "What each feature adds", (join(body),))


def _families(found: Sequence[Contrast]) -> tuple[list[Contrast], list[Contrast]]:
    """Give the comparisons of the whole ranker, and those of the baseline with each feature."""
    return [one for one in found if one.a == ALL], [one for one in found if one.a != ALL]


def _charts(measured: Sequence[Measured], added: Sequence[Contrast]) -> list[tuple[Child, Html]]:
    marks = [pnr_mark(one.source.name, pnr_of(one), colour(_shade(one))) for one in measured]
    reference = next((pnr_of(one).value for one in measured if one.source.name == BASELINE), None)
    at = span_of(marks, "PNR", 1.0 if reference is None else reference, "chance" if reference is None else BASELINE)
    charts: list[tuple[Child, Html]] = [("PNR by set of features", forest("PNR by set of features", marks, at))]
    if added:
        steps = [_step(one) for one in added]
        own = forest("Added to the baseline's PNR", steps, span_of(steps, "added PNR", 0.0, "nothing added"))
        charts.append(("Added to the baseline's PNR", own))
    return charts


def _step(one: Contrast) -> Mark:
    """Give the row of what a feature adds."""
    shown = f"{signed(one.difference)}  ({interval(one.interval, sign=True)})"
    name = one.a.removeprefix(f"{BASELINE} + ")
    return Mark(name, one.difference, one.interval.low, one.interval.high, shown, colour(3))


def _cells(one: Measured) -> list[Child]:
    return [with_interval(r.value, r.interval, 2 if r.name == "pnr" else 3) for r in one.evaluation.results]


def _shade(one: Measured) -> int:
    """Give the number of the colour: of the whole ranker, the baseline, the baseline with a feature, one alone."""
    name = one.source.name
    return 2 if name == ALL else 5 if name == BASELINE else 3 if name.startswith(f"{BASELINE} + ") else 0


def _shares(fitted: Fitted) -> Section:
    nothing, even = float("nan"), 1 / len(fitted.shares)
    bars = []
    for name, own in sorted(fitted.shares.items(), key=lambda item: -item[1][0]):
        ends = (min(own), max(own)) if len(own) > 1 else (nothing, nothing)
        shown = percent(own[0], 1) + (f"  ({ends[0]:.1%}\u00a0…\u00a0{ends[1]:.1%})" if len(own) > 1 else "")
        bars.append(Bar(name[:_MAX_LABEL], own[0], *ends, shown, even, nothing))
    charts: list[tuple[Child, Html]] = [("Share in the score", shares("Share by feature", bars, widest(bars)))]
    linear = fitted.told.linear
    if linear is not None:
        pairs = sorted(zip(fitted.shares, linear.weights, strict=True), key=lambda pair: -pair[1])
        marks = [Mark(name, weight, nothing, nothing, signed(weight), colour(4)) for name, weight in pairs]
        chart = forest("Weights of the linear ranker", marks, span_of(marks, "weight", 0.0, "nothing"))
        charts.append(("Weights of the linear ranker", chart))
    text = (
        "How much of what moves a video up or down is each feature's: its mean absolute contribution to the score, for "
        "trees the SHAP value; in brackets and as a line, the least and the most over the fits. Weights are of the "
        "linear ranker that the trees start from, for one standard deviation. Of two features that say the same, one "
        "may take all: what a feature adds stands above."
    )
    return Section("shares", "What the ranker reads", (prose(text), panels(charts)))


def _learning(fitted: Fitted) -> Section:
    measure, trees = fitted.told.settings["measure"], fitted.told.counts["trees"]
    last = len(fitted.curve) - 1
    count = min(len(fitted.curve), _MAX_POINTS)
    at = sorted({round(i * last / max(1, count - 1)) for i in range(count)})
    curve = Curve(tuple(i + 1 for i in at), tuple(fitted.curve[i] for i in at))
    chart = lines(f"{measure} on the validation queries", [Line(measure, curve, colour(2))], ())
    text = f"{measure} on the validation queries after each tree. The best is after {trees:,} trees; these were kept."
    return Section("learning", "When learning stopped", (prose(text), panels([(measure, chart)])))


def _origin(fitted: Fitted) -> Section:
    told = fitted.told
    rows: list[Sequence[Child]] = []
    for what, value in told.inputs.items():
        shown = value if isinstance(value, str) else f"{value['name']}  {value['xxh3']}"
        rows.append([what, tag("code", foreign(shown, 200))])
    rows += [
        [f"space {one.name}", tag("code", foreign(f"{one.fingerprint}  {one.scoring}", 200))] for one in told.spaces
    ]
    rows.append(["model.txt", tag("code", told.model)])
    versions = ", ".join(f"{name} {value}" for name, value in told.versions.items())
    settings = json.dumps(told.settings, ensure_ascii=False, indent=2)
    body: list[Html] = [
        table(["what", "value"], rows, "Names and hashes"),
        prose(f"Made with {versions}."),
        folded("All settings", tag("pre", settings)),
    ]
    return Section("lineage", "Where the numbers come from", tuple(body))
