"""Recall against a sort of all scores."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.errors import DataError, MissingExtraError
from mmsearch.index import ForwardIndex
from mmsearch.index.recall.search import ExactSearch

IDS = [f"doc-{i}" for i in range(200)]


@pytest.fixture
def index(publish, tmp_path) -> ForwardIndex:
    publish(IDS)
    return ForwardIndex.open(tmp_path / "index")


@pytest.mark.parametrize("k", [1, 10, 200, 1000])
def test_it_finds_the_best_of_those_present(index, k):
    search = ExactSearch(index)
    for space, dim in (("cover", 4), ("content", 8)):
        query = np.eye(dim, dtype=np.float32)[1]
        vectors, present = index.vectors(space, np.arange(200))
        ranked = sorted((i for i in range(200) if present[i]), key=lambda i, v=vectors: -float(v[i, 1]))[:k]
        ids, scores = search.search(space, query, k)
        np.testing.assert_allclose(scores, vectors[ranked, 1], atol=1e-6)
        assert set(ids) <= {IDS[i] for i in np.flatnonzero(present)}
        assert len(ids) == len(ranked)
        own = vectors[[int(doc_id[4:]) for doc_id in ids], 1]  # not the same order: half floats tie
        np.testing.assert_allclose(scores, own, atol=1e-6)


def test_damaged_vectors_never_come_back(index, tmp_path):
    path = tmp_path / "index" / "generations" / index.generation / "vectors.cover.npy"
    data = bytearray(path.read_bytes())
    header = len(data) - 200 * 4 * 2
    for row, poison in enumerate((np.nan, np.inf, 60000)):
        data[header + 8 * row : header + 8 * row + 8] = np.full(4, poison, "<f2").tobytes()
    path.write_bytes(data)
    unchecked = ForwardIndex.open(tmp_path / "index", verify="none")
    ids, scores = ExactSearch(unchecked).search("cover", np.float32([0.6, 0.8, 0, 0]), 200)
    assert len(ids) > 100
    assert not {"doc-0", "doc-1", "doc-2"} & set(ids)
    assert np.isfinite(scores).all()


def test_a_query_that_says_nothing_finds_nothing(index):
    ids, scores = ExactSearch(index).search("cover", np.zeros(4, np.float32), 5)
    assert (ids, scores.shape) == ([], (0,))


@pytest.mark.parametrize(
    ("space", "query", "k", "what"),
    [
        ("frames", [1, 0, 0, 0], 5, "no space"),
        ("cover", [1, 0], 5, "4 finite"),
        ("cover", [np.nan] * 4, 5, "4 finite"),
        ("cover", [1, 0, 0, 0], 0, "k is 0"),
    ],
)
def test_what_cannot_be_asked_is_told(index, space, query, k, what):
    with pytest.raises(DataError, match=what):
        ExactSearch(index).search(space, np.array(query, np.float32), k)


def test_without_faiss_the_pip_line_is_told(index, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"mmsearch\[faiss\]"):
        ExactSearch(index)
