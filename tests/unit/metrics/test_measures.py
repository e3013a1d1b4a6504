"""Measures by name."""

import math
import re

import numpy as np
import pytest

from mmsearch.errors import ConfigError
from mmsearch.metrics.measures import DEFAULT_MEASURES, MEASURES, Table, check_measures, compute
from mmsearch.metrics.names import split_names
from mmsearch.metrics.scored import Scored

TABLE = Table(Scored.from_columns("qqqr", "abca", [2, 0, 1, 1], [0.9, 0.8, 0.7, 0.5]), relevant=2)

VALUES = {
    "pnr": 2.0,
    "pnr(ties=ignore)": 2.0,
    "pnr(ties=discordant)": 2.0,
    "pnr(min_gap=2)": 1.0,
    "pnr(weights=grade_gap)": 3.0,
    "pnr(ties=half,min_gap=2,weights=grade_gap)": 2.0,
    "pair_accuracy": 2 / 3,
    "pair_accuracy(weights=grade_gap)": 3 / 4,
    "auc": 1.0,
    "auc(relevant=1)": 1 / 2,
    "ndcg_exp@1": 1.0,
    "ndcg_linear@1": 1.0,
    "map": 1.0,
    "mrr@10": 1.0,
    "recall@2": 1.0,
    "recall(relevant=1)@2": (1 / 2 + 1) / 2,
    "precision@2": 0.5,
    "err@1": (3 / 4 + 1 / 4) / 2,
    "err(max_grade=3)@1": (3 / 8 + 1 / 8) / 2,
}


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_every_measure_by_its_name(name: str, value: float) -> None:
    statistic = compute(name, TABLE)
    assert (statistic.name, statistic.value) == (name, pytest.approx(value))


@pytest.mark.parametrize("name", ["pnr", "pnr(ties=discordant)", "pair_accuracy", "auc"])
def test_pairs_without_a_score_give_no_figure(name: str) -> None:
    """All pairs are tied, but nobody tied them: chance would be said of what was not measured."""
    nan = math.nan
    without = compute(name, Table(TABLE.scored.with_scores(np.array([nan, nan, nan, 0.5])), relevant=2))
    assert math.isnan(without.value)
    assert np.isnan(without.combine(np.ones((4, without.counts.shape[1])))).all()
    one = compute(name, Table(TABLE.scored.with_scores(np.array([nan, 0.1, nan, nan])), relevant=2))
    assert one.value < 1
    assert compute("mrr", Table(TABLE.scored.with_scores(np.full(4, nan)))).value == 0


def test_without_a_pair_there_is_no_pnr() -> None:
    """A bootstrap sample that draws no pair is left out of the interval, and is no PNR of 0."""
    alike = compute("pnr", Table(Scored.from_columns("qq", "ab", [1, 1], [0.1, 0.2])))
    assert math.isnan(alike.value)
    assert math.isnan(float(compute("pnr", TABLE).combine(np.zeros(3))))


def test_every_measure_is_tried_above() -> None:
    assert {re.split("[@(]", name)[0] for name in VALUES} == set(MEASURES)
    check_measures(DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@10", "did you mean ndcg_exp or ndcg_linear?"),
        ("recal@10", "did you mean recall?"),
        ("pnr@10", "takes no cut-off"),
        ("map@0", "no such measure"),
        ("", "known: pnr"),
        (
            "pnr(tie=half)",
            "no such option 'tie'; known: ties=half|ignore|discordant, min_gap=NUMBER, weights=none|grade",
        ),
        ("pnr(ties=none)", "'ties=none' is not one value of 'ties'; known: ties=half|ignore|discordant"),
        ("pnr(min_gap=0)", "no such option 'min_gap=0'"),
        ("pnr(min_gap=half)", "'min_gap=half' is not one value of 'min_gap'"),
        ("pnr(min_gap=1,min_gap=2)", "'min_gap=2' is not one value of 'min_gap'"),
        ("pnr(average=macro)", "the macro average is the measure 'pair_accuracy'"),
        ("ndcg_exp(relevant=1)@5", "no such option 'relevant'; known: none"),
        ("pnr)ties=half(", "no such measure"),
    ],
)
def test_unknown_names_are_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_measures([name])


def test_a_list_without_a_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no measure to compute"):
        check_measures(split_names(" , "))


def test_commas_in_parentheses_belong_to_the_name() -> None:
    names = split_names("pnr, pnr( ties=ignore, min_gap=2 ),map@10,,pnr")
    assert names == ["pnr", "pnr(ties=ignore,min_gap=2)", "map@10"]
    assert compute("pnr( ties=ignore, min_gap=2 )", TABLE).name == names[1]


def test_pnr_tells_its_pairs_whatever_they_weigh() -> None:
    assert compute("pnr", TABLE).pairs == (2, 1, 0)
    assert compute("pnr(weights=grade_gap)", TABLE).pairs == (2, 1, 0)
    assert compute("pnr(min_gap=2)", TABLE).pairs == (1, 0, 0)
    assert compute("pair_accuracy", TABLE).pairs is None


def test_grades_that_a_measure_cannot_take() -> None:
    with pytest.raises(ConfigError, match="ndcg_exp: grade 100 is too high"):
        compute("ndcg_exp", Table(Scored.from_columns("q", "a", [100], [1.0])))
