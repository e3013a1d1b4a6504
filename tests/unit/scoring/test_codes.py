"""Documents of several codes: features and search against torch's poly scores, and what damage costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import CorruptIndexError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.codes import score_rows
from mmsearch.index.layout import vectors_file
from mmsearch.index.query_tower import TowerSpace
from mmsearch.index.recall.search import ExactSearch
from mmsearch.matching import PolySettings, mean_code, poly_scores
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer, OnnxQueryEncoder
from mmsearch.types import Selection, Space

DIM, NUM_CODES, NUM_DOCS = 8, 3, 40
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
SPACES = (Space("cover", DIM, "aa11"), Space("content", DIM, "bb22", NUM_CODES))
DOC_IDS = [f"v{i}" for i in range(NUM_DOCS)]
PRESENT = np.arange(NUM_DOCS) % 7 != 3


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


CODES = unit(np.random.default_rng(4), NUM_DOCS, NUM_CODES, DIM)


@pytest.fixture
def publish(tmp_path: Path, tower: Path, rewrite_tower: Callable[..., None]) -> Callable[..., Path]:
    """Publish CODES under a selection, as they are or as their means; gives the index."""

    def run(selection: str, *, served: str = "codes", dtype: str = "float32") -> Path:
        num_codes = NUM_CODES if served == "codes" else 1
        codes = CODES.reshape(NUM_DOCS, -1) if served == "codes" else mean_code(torch.from_numpy(CODES)).numpy()
        content = {"num_codes": num_codes, "selection": selection, "sharpness": 4.0}
        rewrite_tower(lambda told: (told.update(format_version=2), told["spaces"][1].update(content)))
        folder = tmp_path / f"{selection}-{served}-{dtype}"
        with GenerationWriter(folder, (SPACES[0], Space("content", DIM, "bb22", num_codes)), dtype=dtype) as writer:
            writer.add(DOC_IDS, {"cover": Embedded(CODES[:, 0], PRESENT), "content": Embedded(codes, PRESENT)})
            writer.publish(query_tower=tower, source={})
        return folder

    return run


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 6),
    st.integers(1, 6),
    st.integers(1, 9),
    st.sampled_from(SELECTIONS),
    st.floats(0.01, 200),
    st.data(),
)
def test_scores_are_those_of_torch(num_docs, num_codes, dim, selection, sharpness, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    codes, query = unit(rng, num_docs, num_codes, dim), unit(rng, dim)
    if num_docs:
        codes[0] = codes[0, 0]  # all codes alike: ties in every selection
    space = TowerSpace(
        name="s", dim=dim, fingerprint="f", output="s", num_codes=num_codes, selection=selection, sharpness=sharpness
    )
    scores, sound = score_rows(codes.reshape(num_docs, num_codes * dim), query, space)
    poly = PolySettings(selection=selection, sharpness=sharpness)
    expected = poly_scores(torch.from_numpy(query)[None], torch.from_numpy(codes), poly)[0].numpy()
    assert scores.dtype == np.float32
    assert scores.shape == (num_docs,)
    assert sound.all()
    steep = np.sqrt(num_codes) / max(np.linalg.norm(codes.mean(1), axis=-1).min(initial=1), 1e-3)  # nearly cancelling
    np.testing.assert_allclose(scores, expected, atol=1e-5 * (steep if selection == "mean" else 1))


def test_codes_that_cancel_out_score_0_by_their_mean():
    space = TowerSpace(name="s", dim=2, fingerprint="f", output="s", num_codes=2, selection="mean")
    scores, sound = score_rows(np.float32([[1, 0, -1, 0]]), np.float32([0.6, 0.8]), space)
    assert (scores.tolist(), sound.tolist()) == ([0], [True])


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_and_search_agree_and_are_those_of_torch(publish, selection, dtype):
    scorer = FeatureScorer.open(publish(selection, dtype=dtype))
    query = torch.from_numpy(scorer.encoder.encode(["red panda"])["content"])
    poly = PolySettings(selection=selection, sharpness=4.0)
    expected = poly_scores(query, torch.from_numpy(CODES), poly)[0].numpy()
    features = scorer.score("red panda", ["nobody", *DOC_IDS])
    values, missing = features.column("content")
    assert missing.tolist() == [True, *~PRESENT]
    np.testing.assert_allclose(values[1:][PRESENT], expected[PRESENT], atol=1e-5 if dtype == "float32" else 2e-3)

    for k in (1, 5, int(PRESENT.sum()), 1000):
        found, scores = ExactSearch(scorer.index).search("content", query[0].numpy(), k)
        best = np.sort(values[1:][PRESENT])[::-1][:k]
        np.testing.assert_allclose(scores, best, atol=1e-6)
        np.testing.assert_allclose(scorer.score("red panda", found).column("content")[0], scores, atol=1e-6)
        assert len(set(found)) == len(best)


def test_mean_selection_over_codes_equals_serving_the_mean(publish):
    codes, mean = (FeatureScorer.open(publish("mean", served=served), derived=False) for served in ("codes", "mean"))
    for query in ("red panda", "大熊猫", "cooking noodles at home"):
        one, other = (scorer.score(query, DOC_IDS) for scorer in (codes, mean))
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)
        np.testing.assert_array_equal(one.missing, other.missing)


def test_with_one_code_no_selection_changes_anything(publish):
    one, *others = (FeatureScorer.open(publish(s, served="mean")).score("panda", DOC_IDS) for s in SELECTIONS)
    assert all((one.values == other.values).all() for other in others)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_one_damaged_code_makes_the_document_missing_there_and_harms_no_other(publish, selection, poison):
    folder = publish(selection)
    before = FeatureScorer.open(folder).score("red panda", DOC_IDS)
    index = ForwardIndex.open(folder)
    path = folder / "generations" / index.generation / vectors_file("content")
    data = bytearray(path.read_bytes())
    at = len(data) - 4 * DIM * ((NUM_DOCS - 5) * NUM_CODES - 1)  # the second code of the sixth document
    data[at : at + 4 * DIM] = np.full(DIM, poison, "<f4").tobytes()
    path.write_bytes(data)
    unchecked = ForwardIndex.open(folder, verify="none")
    scorer = FeatureScorer(unchecked, OnnxQueryEncoder.open(unchecked.query_tower))
    after = scorer.score("red panda", DOC_IDS)
    assert not after.missing[5, 0]
    assert after.missing[5, 1:].all(), "content, and its poly score"
    assert not after.values[5, 1:].any()
    others = np.arange(NUM_DOCS) != 5
    np.testing.assert_array_equal(after.values[others], before.values[others])
    found, scores = ExactSearch(scorer.index).search("content", scorer.encoder.encode(["red panda"])["content"][0], 99)
    assert set(found) == {DOC_IDS[i] for i in np.flatnonzero(PRESENT & others)}
    assert np.isfinite(scores).all()


def test_a_query_that_says_nothing_has_no_features_and_finds_nothing(publish):
    scorer = FeatureScorer.open(publish("min"))
    assert scorer.score(" ", DOC_IDS).missing.all()
    assert ExactSearch(scorer.index).search("content", np.zeros(DIM, np.float32), 5)[0] == []


def test_an_encoder_made_for_another_number_of_codes_is_refused(publish):
    index = ForwardIndex.open(publish("max"))
    other = FeatureScorer.open(publish("max", served="mean")).encoder
    with pytest.raises(FingerprintError, match=r"'content': mine was made for 1 codes a document, .* has 3"):
        FeatureScorer(index, other, encoder_at="mine")


@pytest.mark.parametrize("change", [{"selection": "best"}, {"sharpness": 0.0}, {"num_codes": 0}])
def test_a_selection_that_makes_no_sense_is_told(publish, rewrite_tower, change):
    rewrite_tower(lambda told: told["spaces"][0].update(change))
    with pytest.raises(CorruptIndexError, match=r"query_tower\.json: spaces\.0"):
        publish("max")
