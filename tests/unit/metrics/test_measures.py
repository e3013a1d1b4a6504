"""Measures by name."""

import pytest

from mmsearch.errors import ConfigError
from mmsearch.metrics.measures import DEFAULT_MEASURES, MEASURES, Table, check_measures, compute
from mmsearch.metrics.scored import Scored

TABLE = Table(Scored.from_columns("qqqr", "abca", [2, 0, 1, 1], [0.9, 0.8, 0.7, 0.5]), relevant=2)

VALUES = {
    "pnr": 2.0,
    "pnr_ties_ignored": 2.0,
    "pnr_ties_discordant": 2.0,
    "pnr_weighted": 3.0,
    "pair_accuracy": 2 / 3,
    "auc": 1.0,
    "ndcg_exp@1": 1.0,
    "ndcg_linear@1": 1.0,
    "map": 1.0,
    "mrr@10": 1.0,
    "recall@2": 1.0,
    "precision@2": 0.5,
    "err@1": (3 / 4 + 1 / 4) / 2,
}


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_every_measure_by_its_name(name: str, value: float) -> None:
    statistic = compute(name, TABLE)
    assert (statistic.name, statistic.value) == (name, pytest.approx(value))


def test_every_measure_is_tried_above() -> None:
    assert {name.partition("@")[0] for name in VALUES} == set(MEASURES)
    check_measures(DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@10", "did you mean ndcg_exp or ndcg_linear?"),
        ("recal@10", "did you mean recall?"),
        ("pnr@10", "takes no cut-off"),
        ("map@0", "no such measure"),
        ("", "known: pnr"),
    ],
)
def test_unknown_names_are_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        check_measures([name])


def test_grades_that_a_measure_cannot_take() -> None:
    with pytest.raises(ConfigError, match="ndcg_exp: grade 100 is too high"):
        compute("ndcg_exp", Table(Scored.from_columns("q", "a", [100], [1.0])))
