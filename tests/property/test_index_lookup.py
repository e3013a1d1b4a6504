"""Look-ups of the forward index against a dictionary."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, GenerationWriter, ids
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACE = Space("content", 3, "f1")

stored_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
any_ids = st.text(st.characters(), max_size=6)


def build(folder: Path, doc_ids: list[str], batch: int) -> tuple[ForwardIndex, np.ndarray, np.ndarray]:
    tower = folder / "tower"
    tower.mkdir()
    row = {"name": SPACE.name, "dim": SPACE.dim, "fingerprint": SPACE.fingerprint, "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 4, "spaces": [row]}))
    rng = np.random.default_rng(len(doc_ids))
    vectors = rng.standard_normal((len(doc_ids), SPACE.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.random(len(doc_ids)) > 0.3
    with (
        pytest.MonkeyPatch.context() as patch,
        GenerationWriter(folder / "index", [SPACE], dtype="float32") as writer,
    ):
        patch.setattr("os.fsync", lambda descriptor: None)  # no power is lost here
        for at in range(0, len(doc_ids), batch):
            part = slice(at, at + batch)
            writer.add(doc_ids[part], {"content": Embedded(vectors[part], present[part])})
        writer.publish(query_tower=tower, source={})
    return ForwardIndex.open(folder / "index"), vectors, present


def check_against_a_dictionary(doc_ids: list[str], asked: list[str], batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index, vectors, present = build(Path(folder), doc_ids, batch)
        oracle = {doc_id: row for row, doc_id in enumerate(doc_ids)}
        wanted = [*asked, *reversed(doc_ids), *asked]
        rows = index.rows(wanted)
        assert rows.tolist() == [oracle.get(doc_id, -1) for doc_id in wanted]
        got, there = index.vectors("content", rows)
        assert there.tolist() == [doc_id in oracle and bool(present[oracle[doc_id]]) for doc_id in wanted]
        np.testing.assert_array_equal(got[there], vectors[rows[there]])
        assert list(index.doc_ids) == doc_ids


@settings(max_examples=60, deadline=None)
@given(st.lists(stored_ids, min_size=1, max_size=40, unique=True), st.lists(any_ids, max_size=40), st.integers(1, 50))
def test_rows_are_those_of_a_dictionary(doc_ids, asked, batch):
    check_against_a_dictionary(doc_ids, asked, batch)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(stored_ids, min_size=1, max_size=40, unique=True),
    st.lists(any_ids, max_size=40),
    st.sampled_from([0, 1, 3]),
)
def test_so_they_are_when_hashes_collide(doc_ids, asked, mask):
    whole = ids._hash_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_hash_one", lambda text: whole(text) & mask)
        check_against_a_dictionary(doc_ids, asked, 50)


@settings(max_examples=30, deadline=None)
@given(st.lists(stored_ids, min_size=2, max_size=12), st.sampled_from([1, (1 << 64) - 1]))
def test_ids_given_twice_are_found_and_only_they(doc_ids, mask):
    whole = ids._hash_one
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(ids, "_hash_one", lambda text: whole(text) & mask)
        if len(set(doc_ids)) == len(doc_ids):
            build(Path(folder), doc_ids, 5)
        else:
            with pytest.raises(DataError, match="added twice"):
                build(Path(folder), doc_ids, 5)
