"""A generation of changes over another one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

IDS = [f"doc-{i}" for i in range(30)]


def test_an_overlay_changes_adds_and_deletes(publish, lay, embed, tmp_path, spaces):
    base = publish(IDS, seed=1)
    before = ForwardIndex.open(tmp_path / "index")
    name = lay(base, ["doc-3", "new", "doc-29"], ["doc-0", "never there"], seed=2)
    index = ForwardIndex.open(tmp_path / "index")
    index.verify()
    assert (index.generation, index.base, index.num_docs, index.num_rows) == (name, base, 30, 35)
    assert list(index.doc_ids) == [*IDS, "doc-3", "new", "doc-29", "doc-0", "never there"]
    assert (len(index.doc_ids), index.doc_ids[31], index.doc_ids[28:31]) == (35, "new", ["doc-28", "doc-29", "doc-3"])
    rows = index.rows(["doc-3", "doc-0", "new", "doc-1", "never there", "nobody", "\ud800"])
    assert rows.tolist() == [30, -1, 31, 1, -1, -1, -1]
    dead = {0, 3, 29, 33, 34}
    assert set(np.flatnonzero(~index.live())) == dead
    changed = embed(3, 2)
    for space in spaces:
        vectors, present = index.vectors(space.name, rows)
        own, below = changed[space.name], before.vectors(space.name, np.array([1]))
        assert present.tolist() == [own.present[0], False, own.present[1], below[1][0], False, False, False]
        np.testing.assert_array_equal(vectors[[0, 2]][own.present[:2]], own.vectors[:2][own.present[:2]].astype("f2"))
        np.testing.assert_array_equal(vectors[3], below[0][0])
        everything = index.vectors(space.name, np.arange(35))[1]
        assert not everything[list(dead)].any(), "dead rows have no vectors"
        np.testing.assert_array_equal(index.present(space.name), everything)
        found = [int(row) for block, _ in index.blocks(space.name) for row in block]
        assert found == np.flatnonzero(everything).tolist()
        part = [int(row) for block, _ in index.blocks(space.name, range(20, 32)) for row in block]
        assert part == [row for row in found if 20 <= row < 32]
        assert index.vectors(space.name, np.array([], int))[0].shape == (0, space.dim)
    assert index.spaces == before.spaces
    (version,) = index.versions
    assert (version.rows, version.query_tower) == (range(35), before.query_tower)
    assert before.rows(["doc-0"]).tolist() == [0], "who has the base open keeps it"


def test_rows_of_both_layers_are_copied_together(publish, lay, tmp_path, embed):
    base = publish(IDS, seed=1, dtype="int8")
    below = ForwardIndex.open(tmp_path / "index")
    lay(base, ["doc-3", "new"], seed=2)
    index = ForwardIndex.open(tmp_path / "index")
    stored = index.raw("content", np.array([31, 4, 30, 0]))
    expected = below.raw("content", np.array([4, 0]))
    np.testing.assert_array_equal(stored.vectors[[1, 3]], expected.vectors)
    assert stored.scales is not None
    assert expected.scales is not None
    np.testing.assert_array_equal(stored.scales[[1, 3]], expected.scales)
    own = embed(2, 2)["content"]
    floats = stored.to_float32()[[2, 0]]
    np.testing.assert_allclose(floats[own.present], own.vectors[own.present], atol=1 / 254)
    assert index.raw("content", np.array([], int)).vectors.shape == (0, 8)


def test_an_overlay_of_tombstones_alone(publish, lay, tmp_path):
    base = publish(["a", "b"])
    lay(base, deleted=["a", "b"])
    index = ForwardIndex.open(tmp_path / "index")
    assert (index.num_docs, index.rows(["a", "b"]).tolist(), index.live().any()) == (0, [-1, -1], False)
    assert [rows for block in index.blocks("cover") for rows in block[0]] == []


def test_contents_of_both_layers(tmp_path, spaces, tower, embed):
    one, two = (np.full((2, 8), value, np.uint64) for value in (1, 2))
    with GenerationWriter(tmp_path, spaces) as writer:
        writer.add(["a", "b"], embed(2), one)
        base = writer.publish(query_tower=tower, source={})
    with GenerationWriter(tmp_path, spaces, base=base) as writer:
        writer.delete(["a"])
        writer.add(["b", "c"], embed(2), two)
        writer.publish(query_tower=None, source={})
    index = ForwardIndex.open(tmp_path)
    assert index.contents(index.rows(["b", "a", "c"]))[:, 0].tolist() == [2, 0, 2]
    assert index.contents(np.arange(5))[:, 7].tolist() == [1, 1, 0, 2, 2]


def tower_of(folder, spaces):
    folder.mkdir()
    rows = [
        {"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name, "num_codes": s.num_codes}
        for s in spaces
    ]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": rows}))
    return folder


def test_an_overlay_of_another_model_is_a_version_of_its_own(publish, tmp_path, embed, spaces):
    base = publish(IDS)
    newer = (Space("content", 8, "cc33"), Space("cover", 4, "aa11"), Space("frames", 2, "dd44", 2))
    tower = tower_of(tmp_path / "newer", newer)
    batch = embed(2) | {"frames": Embedded(np.tile(np.float32([0, 1]), (2, 2)), np.ones(2, bool))}
    with GenerationWriter(tmp_path / "index", newer, base=base) as writer:
        writer.add(["doc-3", "new"], batch)
        with pytest.raises(FingerprintError, match=r"content \(cc33, 1 × 8\).* give the query tower"):
            writer.publish(query_tower=None, source={})
        with pytest.raises(FingerprintError, match=r"'content': .* fingerprint bb22, the index to publish has cc33"):
            writer.publish(query_tower=tmp_path / "tower", source={})
        writer.publish(query_tower=tower, source={})
    index = ForwardIndex.open(tmp_path / "index")
    index.verify_query_tower()
    older, new = index.versions
    assert (older.rows, new.rows, older.spaces, new.spaces) == (range(30), range(30, 32), spaces, newer)
    assert index.spaces == newer
    assert index.query_tower == new.query_tower
    assert older.query_tower.parent.name == base
    rows = index.rows(["doc-1", "new", "nobody"])
    with pytest.raises(FingerprintError, match=r"'content'.* two models, bb22 \(1 × 8\) and cc33 \(1 × 8\)"):
        index.vectors("content", rows)
    with pytest.raises(FingerprintError, match="two models"):
        index.raw("content", rows[:2])
    assert index.vectors("cover", rows)[0].shape == (3, 4), "this space did not change"
    assert index.vectors("content", rows[1:])[1].tolist() == [batch["content"].present[1], False]
    vectors, present = index.vectors("frames", rows)
    assert (present.tolist(), vectors.tolist()) == ([False, True, False], [[0] * 4, [0, 1, 0, 1], [0] * 4])
    assert index.present("frames").sum() == 2
    assert [len(block) for block, _ in index.blocks("frames")] == [2]
    with pytest.raises(DataError, match="have no space 'frames'"):
        index.raw("frames", rows[:2])
    with pytest.raises(DataError, match=r"no space 'x'; there are: cover, content, frames"):
        index.vectors("x", rows)


def test_what_cannot_lie_on_what(publish, lay, tmp_path, spaces):
    base = publish(IDS)
    name = lay(base, deleted=["doc-1"])
    index_dir = tmp_path / "index"
    with pytest.raises(DataError, match=rf"{name} is an overlay on {base}"):
        GenerationWriter(index_dir, spaces, base=name)
    for unknown in ("g000009-0123456789abcdef", "..", ""):
        with pytest.raises(DataError, match="there is no generation"):
            GenerationWriter(index_dir, spaces, base=unknown)
    with pytest.raises(DataError, match="is stored as float16; an overlay on it cannot be int8"):
        GenerationWriter(index_dir, spaces, base=base, dtype="int8")
    with GenerationWriter(index_dir, spaces) as writer:
        with pytest.raises(DataError, match="only an overlay deletes"):
            writer.delete(["a"])
        writer.add(["a"], {s.name: Embedded(np.zeros((1, s.dim), np.float32), np.zeros(1, bool)) for s in spaces})
        with pytest.raises(DataError, match="needs a query tower"):
            writer.publish(query_tower=None, source={})
    with GenerationWriter(index_dir, spaces, base=base) as writer:
        writer.delete(["a", "b"])
        with pytest.raises(DataError, match="document 2: its doc_id is empty"):
            writer.delete([""])
        writer.delete(["a"])
        with pytest.raises(DataError, match="'a' was added twice: as document 0 and as 2"):
            writer.publish(query_tower=None, source={})
    assert ForwardIndex.open(index_dir).generation == name


def test_a_base_that_is_gone_or_damaged_is_told(publish, lay, tmp_path):
    base = publish(IDS)
    lay(base, ["doc-1"], seed=3)
    folder = tmp_path / "index" / "generations" / base
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b"doc", b"dog", 1))
    with pytest.raises(CorruptIndexError, match=base):
        ForwardIndex.open(tmp_path / "index")
    manifest.write_bytes(whole)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(CorruptIndexError, match=base):
        ForwardIndex.open(tmp_path / "index")
