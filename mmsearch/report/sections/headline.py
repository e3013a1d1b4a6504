"""What the judgments say on the whole: every feature with intervals, and which differences are more than luck."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmsearch.metrics import Contrast
from mmsearch.metrics.report import Measured
from mmsearch.metrics.results import Result
from mmsearch.report.charts import forest, span_of
from mmsearch.report.facts import Graded
from mmsearch.report.markup import Child, Html, tag
from mmsearch.report.sections.parts import (
    Section,
    colour,
    folded,
    interval,
    number,
    panels,
    percent,
    pnr_mark,
    prose,
    signed,
    table,
    with_interval,
)

#: More queries than this are not counted.
_MANY = 1_000_000


def headline(graded: Graded) -> Section:
    """Give the table of all main features, the chart of their PNR, and the table of differences."""
    mains = [one for one in graded.measured if one.source.name in graded.mains]
    marks = [pnr_mark(one.source.name, pnr_of(one), colour(i)) for i, one in enumerate(mains)]
    chart = forest("PNR by feature", marks, span_of(marks, "PNR", 1.0, "chance", log=True))
    queries, judged = mains[0].evaluation.num_queries, mains[0].evaluation.num_judged
    told = (
        f"{queries:,} queries, {judged:,} graded videos. PNR is the number of pairs of videos that a feature puts in "
        "the right order for every pair that it puts in the wrong one: 1 is chance, more is better. Intervals are 95 % "
        "(bootstrap over queries)."
    )
    body = [prose(told), _measures(mains, graded), panels([("PNR by feature", chart)])]
    if graded.contrasts:
        body += [tag("h3", "Which differences are more than luck?"), contrast_table(graded.contrasts)]
    if graded.notes:
        body.append(folded("Odd rows in the input", tag("ul", [tag("li", note) for note in graded.notes])))
    return Section("ranking", "How well it ranks", tuple(body))


def pnr_of(one: Measured) -> Result:
    """Give the PNR among the measures of a feature."""
    return next(result for result in one.evaluation.results if result.name == "pnr")


def verdict(found: Contrast) -> str:
    """Say in words whether a difference is more than luck."""
    if not found.is_significant:
        return "not clear"
    return f"{found.a if found.difference > 0 else found.b} is better"


def p_value(value: float) -> str:
    """Write the chance of a difference by luck."""
    return "<\u00a00.001" if value < 0.001 else number(value, 3)


def in_words(found: Contrast) -> str:
    """Say a difference in a sentence: its size, its interval, and whether it may be luck; by the corrected p-value, as
    in the table."""
    luck = "more than luck" if found.is_significant else "which may be luck"
    between = interval(found.interval, sign=True)
    return f"{signed(found.difference)} ({between}), {luck}: p\u00a0(Holm)\u00a0{p_value(found.p_holm)}"


def _measures(mains: list[Measured], graded: Graded) -> Html:
    names = [result.name for result in mains[0].evaluation.results]
    rows: list[Sequence[Child]] = []
    for i, one in enumerate(mains):
        cells = [_cell(result) for result in one.evaluation.results]
        name = tag("span", tag("span", class_=f"chip {colour(i)}"), one.source.name, class_="feature")
        rows.append([name, *cells, percent(one.evaluation.missing, 1)])
    caption = f"Measures of each feature with 95 % intervals; relevant means grade {graded.relevant} or more."
    return table(["feature", *(_heads(name) for name in names), "without a score"], rows, caption)


def _cell(result: Result) -> Html:
    return with_interval(result.value, result.interval, 2 if result.name == "pnr" else 3)


def _heads(name: str) -> str:
    known = {"pnr": "PNR", "map": "MAP", "mrr": "MRR"}
    if name.startswith("ndcg_exp"):
        return name.replace("ndcg_exp", "NDCG")
    return known.get(name, name)


def contrast_table(found: Sequence[Contrast]) -> Html:
    """Give the table of some differences of PNR, with a verdict for each."""
    rows: list[Sequence[Child]] = []
    for one in found:
        change = with_interval(one.difference, one.interval, sign=True)
        cells: list[Child] = [change, p_value(one.p_value), p_value(one.p_holm), verdict(one), _queries(one)]
        rows.append([f"{one.a} − {one.b}", *cells])
    families = dict.fromkeys(
        f"{one.family_size:,} comparisons at once ({one.family})" if one.family_size > 1 else "this one alone"
        for one in found
    )
    caption = (
        "Differences of PNR on the same queries: 95 % interval of the paired bootstrap, p-value of the randomisation "
        f"test, and the same for {', '.join(families)}, by Holm's rule: clear is at most 0.05. Where more is compared, "
        "as mmsearch evaluate does of all features, p (Holm) of the same two is larger. The last column says how many "
        "queries like these would show a difference of this size (power 0.8)."
    )
    return table(["difference", "PNR", "p", "p (Holm)", "verdict", "queries needed"], rows, caption)


def _queries(one: Contrast) -> str:
    return f"{math.ceil(one.queries_needed):,}" if one.queries_needed < _MANY else f"> {_MANY:,}"
