"""LambdaMART: what it learns, when it stops, and that its trees mean what they say."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import ConfigError, DataError
from mmsearch.metrics import Scored, Table, compute
from mmsearch.ranking import RankSettings
from mmsearch.ranking.lambdamart import Trees, fit_trees, gain_of
from mmsearch.ranking.table import FeatureTable

SMALL = RankSettings(relevant=1, max_rounds=30, patience=10, num_leaves=5, min_docs_per_leaf=3, linear=False)
WITH_LINEAR = SMALL.model_copy(update={"linear": True})


@pytest.fixture(scope="module")
def fitted(tables):
    return fit_trees(tables(0), tables(1, 8), ("good", "fair", "none"), SMALL, 0)


def trees_alone(text):
    """The trees without the parameters, which name the number of threads."""
    return text.split("\nparameters:")[0]


def walk(node, row):
    """Follow a tree as `Booster.dump_model` gives it: the naive twin of LightGBM's own scoring."""
    while "leaf_value" not in node:
        value = row[node["split_feature"]]
        assert node["decision_type"] == "<="
        if math.isnan(value) and node["missing_type"] == "NaN":
            left = node["default_left"]
        else:
            left = (0.0 if math.isnan(value) else value) <= node["threshold"]
        node = node["left_child" if left else "right_child"]
    return node["leaf_value"]


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(*[st.floats(-3, 5) | st.just(math.nan)] * 3), min_size=1, max_size=6))
def test_scores_are_the_sums_of_the_leaves_of_its_trees(fitted, rows):
    import lightgbm

    dumped = lightgbm.Booster(model_str=fitted.text).dump_model()["tree_info"]
    assert len(dumped) == fitted.num_rounds
    naive = [
        math.nan if all(map(math.isnan, row)) else sum(walk(tree["tree_structure"], row) for tree in dumped)
        for row in rows
    ]
    assert Trees(fitted.text, None).score(np.array(rows)) == pytest.approx(naive, abs=1e-12, nan_ok=True)


def test_scores_are_those_of_lightgbm(fitted, tables):
    import lightgbm

    values = tables(2).values
    values = values[~np.isnan(values).all(axis=1)]
    assert np.array_equal(
        Trees(fitted.text, None).score(values), lightgbm.Booster(model_str=fitted.text).predict(values)
    )
    assert Trees(fitted.text, None).score(values[:0]).shape == (0,)
    assert Trees(fitted.text, None).names == ("good", "fair", "none")


def test_it_learns_an_order_that_no_feature_has_alone(fitted, tables):
    held = tables(3, 60)

    def pnr(scores):
        return compute("pnr", Table(held.rows.with_scores(scores))).value

    assert pnr(Trees(fitted.text, None).score(held.values)) > 1.05 * max(pnr(column) for column in held.values.T)
    sizes = np.abs(Trees(fitted.text, None).contributions(held.values)).mean(axis=0)
    assert sizes[0] > sizes[1] > sizes[2]


def test_trees_correct_the_linear_ranker(tables):
    import lightgbm

    done = fit_trees(tables(0), tables(1, 8), ("good", "fair", "none"), WITH_LINEAR, 0)
    held = tables(1, 8)
    values = held.values[~np.isnan(held.values).all(axis=1)]
    found, plain = Trees(done.text, done.linear), lightgbm.Booster(model_str=done.text)
    assert np.array_equal(found.score(values), done.linear.score(values) + plain.predict(values))
    assert compute("pnr", Table(held.rows.with_scores(found.score(held.values)))).value == max(done.curve)
    rest = found.score(values) - found.contributions(values).sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)  # contributions miss a constant alone


def test_it_stops_at_the_best_round(fitted):
    assert fitted.num_rounds == int(np.argmax(fitted.curve)) + 1
    assert len(fitted.curve) == min(30, fitted.num_rounds + 10)


def test_the_curve_is_the_measure_of_the_trees(fitted, tables):
    held = tables(1, 8)
    scores = Trees(fitted.text, None).score(held.values)
    assert compute("pnr", Table(held.rows.with_scores(scores))).value == fitted.curve[fitted.num_rounds - 1]


def test_the_same_seed_gives_the_same_trees_with_any_number_of_threads(tables):
    def fit(seed, **changed):
        chosen = WITH_LINEAR.model_copy(update={"max_rounds": 4} | changed)
        return fit_trees(tables(0), tables(1, 8), ("good", "fair", "none"), chosen, seed)

    one, threads = fit(0), fit(0, num_threads=2)
    assert fit(0).text == one.text
    assert trees_alone(threads.text) == trees_alone(one.text)
    assert threads.linear == one.linear
    assert trees_alone(fit(1).text) != trees_alone(one.text)


def test_queries_of_one_grade_teach_nothing(fitted, tables):
    train = tables(0)
    level = Scored.from_columns(
        [*(train.rows.queries[i] for i in train.rows.query), *["level"] * 9],
        [*train.rows.doc_ids, *map(str, range(9))],
        [*train.rows.grades, *[3] * 9],
        np.full(len(train.rows) + 9, np.nan),
    )
    values = np.concatenate([train.values, np.zeros((9, 3))])
    both = FeatureTable(level, train.names, values, {})
    assert fit_trees(both, tables(1, 8), train.names, SMALL, 0).text == fitted.text


def test_only_the_order_of_the_grades_and_their_gains_count(tables):
    def fit(grades, gain):
        given, held = tables(0), tables(1, 8)
        mapped = [
            FeatureTable(
                Scored(t.rows.queries, t.rows.query, t.rows.doc_ids, np.array(grades)[t.rows.grades], t.rows.scores),
                t.names,
                t.values,
                {},
            )
            for t in (given, held)
        ]
        return trees_alone(fit_trees(*mapped, given.names, SMALL.model_copy(update={"gain": gain}), 0).text)

    assert fit([0, 1, 2, 3], "exponential") == fit([0, 1, 3, 7], "linear")
    assert fit([0, 1, 2, 3], "linear") != fit([0, 1, 2, 3], "exponential")
    assert fit([0, 1, 2, 5000], "linear")
    with pytest.raises(ConfigError, match=r"grade 5000 is too high .*gain=linear"):
        fit([0, 1, 2, 5000], "exponential")
    assert [gain_of(3, "exponential"), gain_of(3, "linear")] == [7, 3]


def test_grades_without_an_order_are_refused(tables):
    level = tables(4, 3, levels=1)
    with pytest.raises(DataError, match="no training query has videos of two grades"):
        fit_trees(level, tables(1, 8), level.names, SMALL, 0)
    with pytest.raises(DataError, match="no validation query has videos of two grades"):
        fit_trees(tables(0), level, level.names, SMALL, 0)


def test_a_measure_without_a_value_is_refused(tables):
    chosen = SMALL.model_copy(update={"measure": "map", "relevant": 9})
    with pytest.raises(ConfigError, match="'map' has no value on the validation queries"):
        fit_trees(tables(0), tables(1, 8), ("good",), chosen, 0)


def test_more_videos_of_a_query_than_lightgbm_takes_are_refused(tables):
    with pytest.raises(
        DataError, match=re.escape("query 'q0' has 10,001 judgments, and LightGBM takes at most 10,000")
    ):
        fit_trees(tables(0, 1, 10_001), tables(1, 8), ("good",), SMALL, 0)
    short = SMALL.model_copy(update={"max_rounds": 1, "truncation": 1})
    assert fit_trees(tables(0, 1, 10_000), tables(1, 1, 10_001), ("good",), short, 0).num_rounds == 1


def test_trees_that_cannot_be_read_are_refused():
    with pytest.raises(DataError, match="LightGBM cannot read the trees"):
        Trees("tree\nversion=v4\nnum_class=1\n", None)
