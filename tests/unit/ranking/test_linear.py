"""The linear ranker: its loss is least, and what it makes of missing, constant and too many values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mmsearch.metrics import Scored, Table, compute
from mmsearch.ranking import linear
from mmsearch.ranking.linear import LinearRanker, fit_linear
from mmsearch.ranking.table import FeatureTable

NAMES = ("good", "fair", "none")


def naive_loss(table, found, weights, l2):
    """The loss of the definition, pair by pair."""
    scores = found.model_copy(update={"weights": tuple(weights)}).score(table.values)
    losses = [
        np.log1p(np.exp(scores[j] - scores[i]))
        for i in range(len(scores))
        for j in range(len(scores))
        if table.rows.query[i] == table.rows.query[j] and table.rows.grades[i] > table.rows.grades[j]
    ]
    return len(scores) * np.mean(losses) + l2 / 2 * np.square(weights).sum()


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1_000), l2=st.sampled_from([0.01, 1.0, 100.0]))
def test_the_weights_are_those_of_least_loss(tables, seed, l2):
    table = tables(seed, 4, 6)
    found = fit_linear(table, NAMES, l2=l2, seed=0)
    oracle = minimize(lambda weights: naive_loss(table, found, weights, l2), np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(found.weights, oracle.x, atol=1e-3 * max(1, np.abs(oracle.x).max()))


def test_a_missing_value_counts_as_the_mean_and_a_feature_without_values_as_nothing():
    values = np.array([[1.0, 5, np.nan], [3, 5, np.nan], [np.nan, 5, np.nan], [2, 5, np.nan]])
    rows = Scored.from_columns("qqqq", "abcd", [0, 2, 1, 1], np.zeros(4))
    found = fit_linear(FeatureTable(rows, NAMES, values, {}), NAMES, l2=1, seed=0)
    assert (found.means, found.deviations[1:]) == ((2, 5, 0), (1, 1))
    assert found.deviations[0] == pytest.approx(np.std([1, 3, 2]), rel=1e-5)
    assert found.weights[0] > 0
    assert found.weights[1:] == (0, 0)
    scores = found.score(values)
    assert scores[0] < scores[2] == scores[3] == 0 < scores[1]


def test_grades_that_a_feature_tells_apart_give_finite_weights():
    rows = Scored.from_columns("q" * 6, "abcdef", [0, 0, 1, 1, 2, 2], np.zeros(6))
    values = np.array([[0.0], [0], [1], [1], [2], [2]]) * 1e6
    found = fit_linear(FeatureTable(rows, ("good",), values, {}), ("good",), l2=1e-6, seed=0)
    assert 5 < found.weights[0] < 100


def test_units_of_a_feature_do_not_matter(tables):
    table = tables(2)
    other = FeatureTable(table.rows, NAMES, table.values * [1000, 0.01, 1] + [5, -3, 0], {})
    found, changed = (fit_linear(one, NAMES, l2=1, seed=0) for one in (table, other))
    np.testing.assert_allclose(found.weights, changed.weights, rtol=1e-4)
    np.testing.assert_allclose(found.score(table.values), changed.score(other.values), atol=1e-3)


def test_of_many_pairs_some_are_drawn(tables, monkeypatch):
    table, held = tables(0, 40, 12), tables(1, 40, 12)
    whole = fit_linear(table, NAMES, l2=1, seed=0)
    monkeypatch.setattr(linear, "MAX_PAIRS", 900)
    better, worse = linear._pairs(table.rows, 0)
    assert len(better) == len(worse) < 900
    assert (table.rows.query[better] == table.rows.query[worse]).all()
    assert (table.rows.grades[better] > table.rows.grades[worse]).all()
    drawn = fit_linear(table, NAMES, l2=1, seed=0)
    assert drawn == fit_linear(table, NAMES, l2=1, seed=0) != fit_linear(table, NAMES, l2=1, seed=1)
    pnrs = [compute("pnr", Table(held.rows.with_scores(one.score(held.values)))).value for one in (whole, drawn)]
    assert pnrs[1] == pytest.approx(pnrs[0], rel=0.1)


def test_contributions_add_up_and_survive_json(tables):
    found = fit_linear(tables(0), NAMES, l2=1, seed=0)
    values = tables(3).values
    np.testing.assert_allclose(found.contributions(values).sum(axis=1), found.score(values))
    assert LinearRanker.model_validate_json(found.model_dump_json()) == found
