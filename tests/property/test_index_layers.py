"""An overlay on its base against a dictionary of dictionaries."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.index import ForwardIndex, GenerationWriter, to_stored
from mmsearch.index.manifest import Dtype
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACES = (Space("cover", 2, "f1"), Space("content", 3, "f2", 2))
NUM_IDS = 12


@dataclass
class Doc:
    vectors: dict[str, np.ndarray | None]
    contents: np.ndarray


@st.composite
def docs(draw: st.DrawFn, *, min_size: int) -> dict[str, Doc]:
    ids = draw(st.lists(st.integers(0, NUM_IDS - 1), min_size=min_size, max_size=8, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))

    def vector(space: Space) -> np.ndarray | None:
        codes = rng.standard_normal((space.num_codes, space.dim)).astype(np.float32)
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        return codes.reshape(-1) if rng.random() > 0.3 else None

    return {
        f"d{i}": Doc({s.name: vector(s) for s in SPACES}, rng.integers(0, 1 << 60, 8).astype(np.uint64)) for i in ids
    }


def embedded(batch: dict[str, Doc], space: Space) -> Embedded:
    found = [doc.vectors[space.name] for doc in batch.values()]
    rows = [np.zeros(space.row_dim, np.float32) if v is None else v for v in found]
    return Embedded(np.array(rows, np.float32).reshape(len(rows), -1), np.array([v is not None for v in found], bool))


def write(folder: Path, batch: dict[str, Doc], deleted: list[str], dtype: Dtype, base: str | None, step: int) -> str:
    """Publish documents, `step` at a time; tombstones in the middle of them."""
    tower = folder / "tower"
    tower.mkdir(exist_ok=True)
    rows = [
        {"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "o", "num_codes": s.num_codes}
        for s in SPACES
    ]
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 4, "spaces": rows}))
    with GenerationWriter(folder / "index", SPACES, dtype=dtype, base=base) as writer:
        items = list(batch.items())
        if deleted:
            writer.delete(deleted[:1])
        for start in range(0, len(items), step):
            part = dict(items[start : start + step])
            contents = np.stack([doc.contents for doc in part.values()])
            writer.add(list(part), {s.name: embedded(part, s) for s in SPACES}, contents)
        if deleted[1:]:
            writer.delete(deleted[1:])
        return writer.publish(query_tower=None if base else tower, source={})


def check(index: ForwardIndex, twin: dict[str, Doc], dtype: Dtype) -> None:
    asked = [f"d{i}" for i in range(NUM_IDS)] * 2 + ["nobody"]
    rows = index.rows(asked)
    assert [row >= 0 for row in rows] == [doc_id in twin for doc_id in asked]
    assert [index.doc_ids[row] for row in rows if row >= 0] == [doc_id for doc_id in asked if doc_id in twin]
    assert list(index.doc_ids) == index.doc_ids[:]
    live = index.live()
    assert (index.num_docs, sorted(np.flatnonzero(live))) == (len(twin), sorted({int(row) for row in rows if row >= 0}))
    contents = index.contents(rows)
    for doc_id, found in zip(asked, contents, strict=True):
        assert found.tolist() == (twin[doc_id].contents.tolist() if doc_id in twin else [0] * 8)
    for space in SPACES:
        expected = {}
        for doc_id, doc in twin.items():
            vector = doc.vectors[space.name]
            if vector is not None:
                stored = to_stored(Embedded(vector[None], np.ones(1, bool)), space.num_codes, dtype)
                expected[doc_id] = stored.to_float32()[0].tolist()
        vectors, present = index.vectors(space.name, rows)
        assert [v.tolist() if p else None for v, p in zip(vectors, present, strict=True)] == [
            expected.get(doc_id) for doc_id in asked
        ]
        assert not vectors[~present].any()
        by_blocks = {
            index.doc_ids[int(row)]: vector.tolist()
            for block, block_vectors in index.blocks(space.name)
            for row, vector in zip(block, block_vectors, strict=True)
        }
        assert by_blocks == expected
        assert index.present(space.name).sum() == len(expected)
        there = rows[rows >= 0]
        raw = index.raw(space.name, there)
        np.testing.assert_array_equal(raw.to_float32(), vectors[rows >= 0])
        np.testing.assert_array_equal(raw.present, present[rows >= 0])
        assert index.sound(space.name, there).all()


@settings(max_examples=40, deadline=None)
@given(
    docs(min_size=1),
    docs(min_size=0),
    st.lists(st.integers(0, NUM_IDS + 1), max_size=4, unique=True),
    st.sampled_from(["float16", "float32", "int8"]),
    st.integers(1, 9),
    st.sampled_from([1, 20, 1 << 18]),
)
def test_an_overlay_reads_as_a_dictionary_that_was_updated(base, changes, gone, dtype, step, block_bytes):
    deleted = [f"d{i}" for i in gone if f"d{i}" not in changes]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda descriptor: None)  # no power is lost here
        patch.setattr("mmsearch.index.blocks._BLOCK_BYTES", block_bytes)
        name = write(Path(folder), base, [], dtype, None, step)
        check(ForwardIndex.open(Path(folder) / "index"), base, dtype)
        if changes or deleted:
            write(Path(folder), changes, deleted, dtype, name, step)
        twin = {doc_id: doc for doc_id, doc in (base | changes).items() if doc_id not in deleted}
        index = ForwardIndex.open(Path(folder) / "index")
        index.verify()
        index.warm()
        check(index, twin, dtype)
