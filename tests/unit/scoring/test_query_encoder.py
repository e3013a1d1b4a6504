"""The ONNX query encoder against its naive twin, and every odd query and folder."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.errors import CorruptIndexError, DataError, FormatVersionError
from mmsearch.scoring import OnnxQueryEncoder
from mmsearch.text import Tokenizer


@pytest.fixture
def encoder(tower) -> OnnxQueryEncoder:
    return OnnxQueryEncoder.open(tower)


def naive(tower, table, query: str) -> np.ndarray:
    ids, _ = Tokenizer.load(tower / "tokenizer").encode_batch([query], 16)
    total = table[ids[0]].sum(axis=0)
    return total / np.linalg.norm(total)


def test_vectors_are_those_of_the_naive_twin(encoder, tower, table):
    queries = ["red panda", "大熊猫 吃 竹子", "Cooking NOODLES", "unknown ☃ words", "a " * 100]
    vectors = encoder.encode(queries)
    assert set(vectors) == {"cover", "content"}
    for space in vectors.values():
        np.testing.assert_allclose(space, [naive(tower, table, query) for query in queries], atol=1e-6)


def test_neighbours_in_a_call_do_not_count(encoder, tower):
    alone = OnnxQueryEncoder.open(tower, cache_size=0)
    together = encoder.encode(["panda", "a red panda climbs a tree at home"])["cover"]
    np.testing.assert_array_equal(together[0], alone.encode(["panda"])["cover"][0])


@pytest.mark.parametrize("query", ["", "   ", "\t\n", "\0\0", "\u200b\ufeff", "\u3000", "\ud800"])
def test_a_query_that_says_nothing_gets_zeros(encoder, query):
    assert not encoder.encode([query])["cover"].any()


@pytest.mark.parametrize(("one", "same"), [("red panda", "ＲＥＤ　ＰＡＮＤＡ"), ("panda", " pan\u200bda\0 ")])
def test_queries_that_normalise_alike_get_equal_vectors(encoder, one, same):
    first, second = encoder.encode([one, same])["cover"]
    np.testing.assert_array_equal(first, second)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(), max_size=60))
def test_any_text_gives_a_unit_vector_or_zeros(encoder, query):
    vector = encoder.encode([query])["content"][0]
    assert not vector.any() or abs(np.linalg.norm(vector) - 1) < 1e-3


@pytest.mark.parametrize("text", ["panda ", "竹", " ", "\U0001f468\u200d\U0001f469", "\ud800", "ﷺ"])
def test_ten_megabytes_are_no_burden(encoder, text):
    query = text * (10_000_000 // len(text))
    start = time.process_time()
    vector = encoder.encode([query])["content"][0]
    assert time.process_time() - start < 0.2
    assert vector.shape == (8,)


def test_the_cache_is_bounded_and_gives_the_same(tower, monkeypatch):
    encoder = OnnxQueryEncoder.open(tower, cache_size=2)
    runs = []
    run = encoder._run
    monkeypatch.setattr(encoder, "_run", lambda ids: (runs.append(1), run(ids))[1])
    first = encoder.encode(["red"])["cover"]
    np.testing.assert_array_equal(encoder.encode(["red", "RED "])["cover"][1], first[0])
    assert len(runs) == 1
    encoder.encode(["tree", "red", "home", "red"])  # red was used last but one: tree goes
    assert len(runs) == 3
    encoder.encode(["tree"])
    assert len(runs) == 4
    assert len(encoder._by_ids) == len(encoder._by_text) == 2


def test_threads_share_one_encoder(tower):
    encoder = OnnxQueryEncoder.open(tower, cache_size=3)
    queries = ["red panda", "tree", "大熊猫", "noodles at home", "a", "cooking"]
    expected = encoder.encode(queries)["cover"]

    def ask(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(queries))
        return bool((encoder.encode([queries[i] for i in order])["cover"] == expected[order]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_model_that_gives_nan_says_nothing(tower, write_tower_model, table):
    write_tower_model(np.full_like(table, np.nan))
    assert not OnnxQueryEncoder.open(tower).encode(["red panda"])["cover"].any()


def test_a_folder_that_does_not_fit_together_is_refused(tower, rewrite_tower, write_tower_model, table):
    rewrite_tower(lambda told: [space.update(dim=9) for space in told["spaces"]])
    with pytest.raises(CorruptIndexError, match=r"output 'query' has shape \[8\], query_tower.json says 9"):
        OnnxQueryEncoder.open(tower)
    rewrite_tower(lambda told: told["spaces"][0].update(dim=8))
    with pytest.raises(CorruptIndexError, match="two dimensions"):
        OnnxQueryEncoder.open(tower)
    rewrite_tower(lambda told: told["spaces"][1].update(dim=8, output="content"))
    with pytest.raises(CorruptIndexError, match="has no content"):
        OnnxQueryEncoder.open(tower)
    write_tower_model(table, ("query", "content"))
    OnnxQueryEncoder.open(tower)
    write_tower_model(table[:1])
    rewrite_tower(lambda told: told["spaces"][1].update(output="query"))
    with pytest.raises(CorruptIndexError, match="does not run"):
        OnnxQueryEncoder.open(tower)


@pytest.mark.parametrize(
    ("name", "error"), [("model.onnx", CorruptIndexError), ("query_tower.json", CorruptIndexError)]
)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[1]"])
def test_damaged_files_are_told(tower, name, error, content):
    (tower / name).write_bytes(content)
    with pytest.raises(error, match=name):
        OnnxQueryEncoder.open(tower)


@pytest.mark.parametrize("name", ["model.onnx", "query_tower.json", "tokenizer/tokenizer.json"])
def test_missing_files_are_told(tower, name):
    (tower / name).unlink()
    with pytest.raises((CorruptIndexError, DataError), match=r"cannot be read|holds neither"):
        OnnxQueryEncoder.open(tower)


def test_a_later_format_is_refused(tower, rewrite_tower):
    rewrite_tower(lambda told: told.update(format_version=4))
    with pytest.raises(FormatVersionError, match="format 4"):
        OnnxQueryEncoder.open(tower)
