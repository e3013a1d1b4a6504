"""Features that are made of others, against their naive twins; and what is said of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.matching import PolySettings, poly_scores
from mmsearch.scoring import FeatureScorer, feature_definitions
from mmsearch.scoring.derived import derived_from
from mmsearch.types import Space

DIM = 8
DOC_IDS = [f"v{i}" for i in range(30)]
ASKED = ["nobody", *DOC_IDS]
SPACES = ("cover", "frames", "perception", "content", "content.title", "content.asr")


def test_spaces_come_first_and_keep_their_scores(publish_wide):
    folder = publish_wide()
    scorer = FeatureScorer.open(folder)
    assert scorer.spaces == SPACES
    assert scorer.names == (*SPACES, "content.poly", "max_modality", "spread")
    plain = FeatureScorer.open(folder, derived=False)
    assert plain.names == SPACES
    both, alone = (one.score("red panda", ASKED) for one in (scorer, plain))
    np.testing.assert_array_equal(both.values[:, :6], alone.values)
    np.testing.assert_array_equal(both.missing[:, :6], alone.missing)
    assert both.generation == alone.generation == scorer.index.generation


def test_derived_features_are_those_of_the_naive_twin(publish_wide):
    features = FeatureScorer.open(publish_wide()).score("red panda", ASKED)
    seen = {"max_modality": 0, "spread": 0}
    for _, row in features.to_rows():
        single = [row[name] for name in ("content.title", "content.asr") if row[name] is not None]
        assert row["max_modality"] == (max(single) if single else None)
        whole = row["perception"] is not None and row["content"] is not None
        assert row["spread"] == (pytest.approx(row["perception"] - row["content"], abs=1e-6) if whole else None)
        for name in seen:
            seen[name] += row[name] is not None
    assert 0 < seen["max_modality"] <= 30
    assert 0 < seen["spread"] < 30
    values, missing = features.column("max_modality")
    assert not values[missing].any()


@pytest.mark.parametrize("selection", ["max", "min", "mean"])
def test_the_poly_score_is_that_of_torch_whatever_the_models_own_selection(publish_wide, selection):
    scorer = FeatureScorer.open(publish_wide(selection=selection))
    values, missing = scorer.score("red panda", DOC_IDS).column("content.poly")
    query = torch.from_numpy(scorer.encoder.encode(["red panda"])["content"])
    codes, present = scorer.index.vectors("content", scorer.index.rows(DOC_IDS))
    poly = PolySettings(selection="weighted", sharpness=4.0)
    expected = poly_scores(query, torch.from_numpy(codes.reshape(30, 3, DIM)), poly)[0].numpy()
    np.testing.assert_array_equal(missing, ~present)
    np.testing.assert_allclose(values[present], expected[present], atol=1e-6)


def test_a_model_that_is_weighted_has_no_second_poly_score(publish_wide):
    scorer = FeatureScorer.open(publish_wide(selection="weighted"))
    assert scorer.names == (*SPACES, "max_modality", "spread")


def test_without_single_modality_spaces_cover_and_frames_stand_for_them(publish_wide):
    spaces = tuple(Space(name, DIM, name) for name in ("cover", "frames", "content"))
    scorer = FeatureScorer.open(publish_wide(spaces))
    assert scorer.names == ("cover", "frames", "content", "max_modality")
    for _, row in scorer.score("red panda", DOC_IDS).to_rows():
        there = [row[name] for name in ("cover", "frames") if row[name] is not None]
        assert row["max_modality"] == (max(there) if there else None)


def test_what_has_no_parts_or_a_name_that_is_taken_is_left_out(publish_wide):
    assert FeatureScorer.open(publish_wide((Space("cover", DIM, "a"), Space("content", DIM, "b")))).names == (
        "cover",
        "content",
    )
    names = ("perception", "content", "content.poly", "spread")
    spaces = tuple(Space(name, DIM, name, 2 if name == "content" else 1) for name in names)
    assert FeatureScorer.open(publish_wide(spaces)).names == names


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_combinations_never_give_a_number_where_one_is_missing(num, seed):
    rng = np.random.default_rng(seed)
    for feature in derived_from(SPACES):
        missing = rng.random((num, len(feature.parts))) < 0.5
        values = np.where(missing, 0, rng.uniform(-1, 1, missing.shape)).astype(np.float32)
        scores, none = feature.combine(values.T, missing.T)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        needed = any if feature.name == "spread" else all
        assert none.tolist() == [needed(row) for row in missing.tolist()]
        assert not scores[none].any()


def test_every_feature_is_defined(publish_wide):
    scorer = FeatureScorer.open(publish_wide())
    told = feature_definitions(scorer)
    assert tuple(told) == scorer.names
    assert len(set(told.values())) == len(told)
    assert told["content"].endswith("the closest of 3 codes.")
    assert "(sharpness 4)" in told["content.poly"]
    assert "the title alone" in told["content.title"]
    assert tuple(feature_definitions(FeatureScorer.open(publish_wide(), derived=False))) == SPACES
    own = FeatureScorer.open(publish_wide((Space("mine", DIM, "a"),)))
    assert feature_definitions(own) == {"mine": "Cosine of the query with the space 'mine'."}
