"""Measures on human grades: PNR and ranked lists, their intervals, and comparisons of systems. Only NumPy is needed."""

from mmsearch.metrics.contrasts import Contrast, contrast
from mmsearch.metrics.measures import DEFAULT_MEASURES, MEASURES, Table, compute
from mmsearch.metrics.pnr import PnrCounts, count_pairs, merge_counts, pair_accuracy, pnr
from mmsearch.metrics.results import Evaluation, Pairs, Result, by_grade, evaluate, evaluate_mean
from mmsearch.metrics.scored import UNJUDGED, UNSCORED, Scored
from mmsearch.metrics.significance import (
    Comparison,
    Interval,
    bootstrap_intervals,
    detectable_difference,
    holm,
    paired_bootstrap,
    randomisation_test,
    randomisation_tests,
)
from mmsearch.metrics.statistic import Statistic

__all__ = [
    "DEFAULT_MEASURES",
    "MEASURES",
    "UNJUDGED",
    "UNSCORED",
    "Comparison",
    "Contrast",
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
    "contrast",
    "count_pairs",
    "detectable_difference",
    "evaluate",
    "evaluate_mean",
    "holm",
    "merge_counts",
    "pair_accuracy",
    "paired_bootstrap",
    "pnr",
    "randomisation_test",
    "randomisation_tests",
]
