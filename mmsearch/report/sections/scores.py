"""How scores lie: distributions for each grade, and what a score is worth."""

from __future__ import annotations

from mmsearch.report.charts import reliability, ridges
from mmsearch.report.facts import Graded
from mmsearch.report.sections.parts import Section, colour, folded, number, panels, prose, table


def distributions(graded: Graded) -> Section:
    """Give the distribution of each feature's scores by grade."""
    charts = [(feature, ridges(f"Scores of {feature} by grade", spread)) for feature, spread in graded.spreads.items()]
    rows = [
        [f"{feature} · grade {one.grade}", number(one.median, 3), f"{one.num_scored:,}", f"{one.num_missing:,}"]
        for feature, spread in graded.spreads.items()
        for one in spread.histograms
    ]
    told = "The further the hills of the grades lie apart, the better. The stroke in each is its median."
    numbers = folded(
        "Numbers", table(["feature · grade", "median score", "scored", "missing"], rows, "Scores by grade")
    )
    return Section("scores", "Scores by grade", (prose(told), panels(charts), numbers))


def reliabilities(graded: Graded) -> Section:
    """Give the mean grade of each tenth of the scores."""
    charts = [
        (feature, reliability(f"Mean grade by tenth of the scores of {feature}", spread, colour(i)))
        for i, (feature, spread) in enumerate(graded.spreads.items())
    ]
    rows = [
        [
            f"{feature} · {i}",
            f"{number(tenth.low_score, 3)} … {number(tenth.high_score, 3)}",
            f"{number(tenth.mean_grade)} ({number(tenth.low)} … {number(tenth.high)})",
            f"{tenth.num_rows:,}",
        ]
        for feature, spread in graded.spreads.items()
        for i, tenth in enumerate(spread.tenths, 1)
    ]
    told = (
        "All judged videos of all queries, cut into tenths by score. A feature that a ranker can rely on rises from "
        "left to right all the way; where it is flat, a higher score says nothing. The dashed line is the mean grade."
    )
    numbers = folded(
        "Numbers", table(["feature · tenth", "scores", "mean grade", "videos"], rows, "Mean grade by score")
    )
    return Section("reliability", "What a score is worth", (prose(told), panels(charts), numbers))
