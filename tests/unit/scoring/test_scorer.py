"""Scores against their naive twin, and everything that must be missing instead of wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.layout import vectors_file
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer, OnnxQueryEncoder, RankFeatures
from mmsearch.types import Space

DOC_IDS = [f"v{i}" for i in range(30)]


def test_features_are_cosines_of_query_and_document(index_dir, tower, embedded):
    features = FeatureScorer.open(index_dir).score("red panda", DOC_IDS)
    queries = OnnxQueryEncoder.open(tower).encode(["red panda"])
    assert features.names == ("cover", "content")
    assert features.doc_ids == tuple(DOC_IDS)
    for name in features.names:
        values, missing = features.column(name)
        present = embedded[name].present
        np.testing.assert_array_equal(missing, ~present)
        expected = [sum(a * b for a, b in zip(v, queries[name][0], strict=True)) for v in embedded[name].vectors]
        np.testing.assert_allclose(values[present], np.array(expected)[present], atol=1e-6)
        assert not values[missing].any()


def test_order_doubles_and_unknown_ids_of_the_candidates(index_dir):
    scorer = FeatureScorer.open(index_dir)
    straight = scorer.score("tree", DOC_IDS)
    features = scorer.score("tree", ["v7", "nobody", "v0", "v7", "\ud800"])
    np.testing.assert_array_equal(features.values[[0, 2, 3]], straight.values[[7, 0, 7]])
    assert features.missing[[1, 4]].all()
    assert not features.missing[[0, 2, 3]].any()
    assert scorer.score("tree", []).values.shape == (0, 2)


@pytest.mark.parametrize("query", ["", " \0\u200b"])
def test_a_query_that_says_nothing_has_no_features(index_dir, query):
    features = FeatureScorer.open(index_dir).score(query, DOC_IDS)
    assert features.missing.all()
    assert not features.values.any()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30, 3e38])
def test_a_damaged_vector_is_missing_and_harms_no_other(index_dir, poison):
    before = FeatureScorer.open(index_dir).score("red panda", DOC_IDS)
    index = ForwardIndex.open(index_dir)
    path = index_dir / "generations" / index.generation / vectors_file("content")
    data = bytearray(path.read_bytes())
    header = len(data) - 30 * 8 * 4
    data[header + 4 * 8 * 5 : header + 4 * 8 * 6] = np.full(8, poison, "<f4").tobytes()
    path.write_bytes(data)
    checked = FeatureScorer.open(index_dir).score("red panda", DOC_IDS)
    assert checked.missing[:, 1].all(), "all are of the block whose checksum does not hold"
    np.testing.assert_array_equal(checked.values[:, 0], before.values[:, 0])
    unchecked = ForwardIndex.open(index_dir, verify="none")
    after = FeatureScorer(unchecked, OnnxQueryEncoder.open(unchecked.query_tower)).score("red panda", DOC_IDS)
    assert after.missing[5].tolist() == [False, True]
    assert after.values[5, 1] == 0
    others = np.arange(30) != 5
    np.testing.assert_array_equal(after.values[others], before.values[others])
    np.testing.assert_array_equal(after.missing[others], before.missing[others])
    with pytest.raises(CorruptIndexError, match=r"vectors\.content\.npy"):
        ForwardIndex.open(index_dir).verify()


def test_a_query_tower_of_another_model_is_refused_with_both_named(index_dir, tower, rewrite_tower):
    rewrite_tower(lambda told: told["spaces"][1].update(fingerprint="cc33"))
    index, encoder = ForwardIndex.open(index_dir), OnnxQueryEncoder.open(tower)
    with pytest.raises(FingerprintError, match=r"'content': the new tower has fingerprint cc33, .*g000001.* has bb22"):
        FeatureScorer(index, encoder, encoder_at="the new tower")


def test_a_damaged_query_tower_is_refused_though_it_would_run(index_dir):
    FeatureScorer.open(index_dir)
    model = ForwardIndex.open(index_dir).query_tower / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a weight
    model.chmod(0o644)
    model.write_bytes(bytes(content))
    with pytest.raises(CorruptIndexError, match=r"damaged: query_tower/model\.onnx; publish again"):
        FeatureScorer.open(index_dir)


class Fixed:
    """A query encoder of the user's own."""

    spaces = (Space("content", 8, "bb22"), Space("cover", 8, "aa11"), Space("extra", 3, "zz"))

    def encode(self, queries):
        return {space.name: np.eye(space.dim, dtype=np.float32)[[0] * len(queries)] for space in self.spaces}


def test_any_query_encoder_of_the_same_model_will_do(index_dir, embedded):
    features = FeatureScorer(ForwardIndex.open(index_dir), Fixed()).score("x", DOC_IDS)
    present = embedded["cover"].present
    np.testing.assert_allclose(features.values[present, 0], embedded["cover"].vectors[present, 0])


def test_rows_and_columns():
    features = RankFeatures(("a", "b"), ("f",), np.array([[0.5], [0]], np.float32), np.array([[False], [True]]))
    assert list(features.to_rows()) == [("a", {"f": 0.5}), ("b", {"f": None})]
    assert features.column("f")[1].tolist() == [False, True]
    with pytest.raises(DataError, match="no feature 'g'; there are: f"):
        features.column("g")


def publish_again(index_dir, tower, embedded):
    with GenerationWriter(index_dir, ForwardIndex.open(index_dir).spaces, dtype="float32") as writer:
        writer.add(DOC_IDS, embedded)
        writer.publish(query_tower=tower, source={})


def test_a_query_tower_whose_bytes_are_the_same_is_not_loaded_again(
    index_dir, tower, embedded, write_tower_model, table
):
    first = FeatureScorer.open(index_dir)
    publish_again(index_dir, tower, {name: Embedded(-e.vectors, e.present) for name, e in embedded.items()})
    second = FeatureScorer.open(index_dir, previous=first)
    assert second.encoder is first.encoder
    assert second.index.generation != first.index.generation
    before, after = (scorer.score("red panda", DOC_IDS) for scorer in (first, second))
    np.testing.assert_allclose(after.values, -before.values, atol=1e-6)
    write_tower_model(table * np.linspace(1, 2, table.shape[1], dtype=np.float32))
    publish_again(index_dir, tower, embedded)
    third = FeatureScorer.open(index_dir, previous=second)
    assert third.encoder is not first.encoder
    fresh = FeatureScorer.open(index_dir).score("red panda", DOC_IDS)
    np.testing.assert_array_equal(third.score("red panda", DOC_IDS).values, fresh.values)
    assert not np.allclose(fresh.values, before.values)
