"""Measures on human grades: PNR and ranked lists, their intervals, and comparisons of systems. Only NumPy is needed."""

from mmsearch.metrics.measures import DEFAULT_MEASURES, MEASURES, Table, compute
from mmsearch.metrics.pnr import PnrCounts, count_pairs, merge_counts, pair_accuracy, pnr
from mmsearch.metrics.results import Evaluation, Pairs, Result, by_grade, evaluate
from mmsearch.metrics.scored import UNJUDGED, UNSCORED, Scored
from mmsearch.metrics.significance import (
    Comparison,
    Interval,
    bootstrap_intervals,
    holm,
    paired_bootstrap,
    randomisation_test,
)
from mmsearch.metrics.statistic import Statistic

__all__ = [
    "DEFAULT_MEASURES",
    "MEASURES",
    "UNJUDGED",
    "UNSCORED",
    "Comparison",
    "Evaluation",
    "Interval",
    "Pairs",
    "PnrCounts",
    "Result",
    "Scored",
    "Statistic",
    "Table",
    "bootstrap_intervals",
    "by_grade",
    "compute",
    "count_pairs",
    "evaluate",
    "holm",
    "merge_counts",
    "pair_accuracy",
    "paired_bootstrap",
    "pnr",
    "randomisation_test",
]
