"""Graded pairs with features: splits, parts, and which sets of features are compared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.errors import ConfigError
from mmsearch.index import ForwardIndex
from mmsearch.metrics.join import Grades
from mmsearch.ranking import RankSettings
from mmsearch.ranking.columns import UserColumns
from mmsearch.ranking.feature_sets import baseline_of, check_columns, choose_features, compared_sets
from mmsearch.ranking.table import feature_table
from mmsearch.scoring import FeatureScorer

FEATURES = ("cover", "content", "content.title", "content.asr")


@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 1_000_000_000))
def test_a_split_keeps_every_query_whole_and_on_the_same_side_of_a_larger_table(tables, share, seed):
    large, small = tables(0, 30), tables(0, 12)
    learn, held = large.split(share, seed)
    assert sorted(learn.rows.queries + held.rows.queries) == sorted(large.rows.queries)
    assert not set(learn.rows.queries) & set(held.rows.queries)
    assert len(learn.rows) + len(held.rows) == len(large.rows)
    assert set(small.split(share, seed)[1].rows.queries) <= set(held.rows.queries)


def test_a_part_keeps_values_with_their_rows(tables):
    table = tables(0, 5, 4)
    part = table.part(np.array([False, True, False, False, True]))
    assert part.rows.queries == ("q1", "q4")
    assert part.rows.doc_ids == table.rows.doc_ids[4:8] + table.rows.doc_ids[16:]
    np.testing.assert_array_equal(part.values, np.concatenate([table.values[4:8], table.values[16:]]))
    assert part.group_sizes == [4, 4]
    assert table.part(np.zeros(5, bool)).has_pairs.shape == (0,)


def test_features_are_what_the_scorer_gives_and_columns_stand_beside_them(world):
    scorer = FeatureScorer(ForwardIndex.open(world / "index"), FeatureScorer.open(world / "index").encoder)
    grades = Grades(["aax0", "bax1", "aax0"], ["d000", "d010", "unknown"], [2, 1, 0], [])
    columns = UserColumns(("bm25",), {("aax0", "unknown"): 0}, np.array([[7.0]]))
    table = feature_table(scorer, grades, ("content", "cover"), columns)
    assert table.names == ("content", "cover", "bm25")
    assert list(table.rows.doc_ids) == ["d000", "unknown", "d010"]  # rows of a query come together
    own = scorer.score("aax0", ["d000"])
    expected = [own.column("content")[0][0], own.column("cover")[0][0]]
    np.testing.assert_array_equal(table.values[0], [*expected, np.nan])
    np.testing.assert_array_equal(table.values[1], [np.nan, np.nan, 7])
    np.testing.assert_array_equal(table.matrix(["bm25", "cover"])[:, 1], table.values[:, 1])
    assert table.has_pairs.tolist() == [True, False]


def test_the_baseline_is_the_users_columns_or_else_single_texts():
    plain = RankSettings()
    assert baseline_of(FEATURES, ("bm25",), plain) == ("bm25",)
    assert baseline_of(FEATURES, (), plain) == ("content.title", "content.asr")
    assert baseline_of(("cover", "content"), (), plain) == ()
    assert baseline_of(FEATURES, ("bm25",), RankSettings(baseline=("cover",))) == ("cover",)
    with pytest.raises(ConfigError, match="baseline: there is no x; there are: cover"):
        baseline_of(FEATURES, (), RankSettings(baseline=("x",)))


def test_the_baseline_is_compared_with_each_other_feature():
    sets = compared_sets(FEATURES, ("content.title",), RankSettings())
    assert sets == {
        "all": FEATURES,
        "baseline": ("content.title",),
        "baseline + cover": ("content.title", "cover"),
        "baseline + content": ("content.title", "content"),
        "baseline + content.asr": ("content.title", "content.asr"),
    }
    assert list(compared_sets(FEATURES, FEATURES[1:], RankSettings())) == ["all", "baseline"]  # the third would be all
    assert list(compared_sets(FEATURES, FEATURES, RankSettings())) == ["all"]
    assert list(compared_sets(FEATURES, (), RankSettings(compare=False))) == ["all"]


def test_names_are_checked():
    assert choose_features(FEATURES, RankSettings(features=("cover", "cover"))) == ("cover",)
    with pytest.raises(ConfigError, match=r"features: the index has no covr; it has: cover"):
        choose_features(FEATURES, RankSettings(features=("covr",)))
    check_columns(["点击率", "a-b.c"], FEATURES)
    for name, problem in (("cover", "a feature of the index has this name"), ("grade", "is what the ranker learns")):
        with pytest.raises(ConfigError, match=problem):
            check_columns([name], FEATURES)
    for name in ("a b", 'a"', "a:b", "{a}", "", "a,b"):
        with pytest.raises(ConfigError, match="LightGBM takes no blank"):
            check_columns([name], FEATURES)
