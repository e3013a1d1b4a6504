"""What the writer takes, refuses and leaves behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import DataError, FingerprintError, FormatVersionError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space


def unpublished(index_dir: Path) -> list[str]:
    return [path.name for path in (index_dir / "generations").iterdir() if path.name.startswith(".")]


def test_what_was_added_comes_back(tmp_path, spaces, tower, embed):
    first, second = embed(3, 1), embed(2, 2)
    with GenerationWriter(tmp_path, spaces, dtype="float32") as writer:
        writer.add(["a", "视频", "c"], first)
        writer.add([], embed(0))
        writer.add(["d", "e\0"], second)
        assert writer.num_docs == 5
        name = writer.publish(query_tower=tower, source={"corpus": "x"})
    index = ForwardIndex.open(tmp_path)
    index.verify()
    assert (index.generation, index.num_docs, index.spaces) == (name, 5, spaces)
    assert list(index.doc_ids) == ["a", "视频", "c", "d", "e\0"]
    assert (index.doc_ids[1], index.doc_ids[-1], index.doc_ids[1:3]) == ("视频", "e\0", ["视频", "c"])
    assert index.source == {"corpus": "x"}
    assert (index.query_tower / "tokenizer" / "tokenizer.json").read_text() == "{}"
    for space in spaces:
        vectors, present = index.vectors(space.name, index.rows(["a", "视频", "c", "d", "e\0"]))
        wanted = np.concatenate([first[space.name].vectors, second[space.name].vectors])
        np.testing.assert_array_equal(present, [*first[space.name].present, *second[space.name].present])
        np.testing.assert_array_equal(vectors[present], wanted[present])
        assert not vectors[~present].any()


def test_half_floats_are_the_default(publish, tmp_path):
    publish()
    index = ForwardIndex.open(tmp_path / "index")
    assert index.dtypes == {"cover": "float16", "content": "float16"}
    assert index.raw("content", np.array([0])).vectors.dtype == np.float16
    assert index.vectors("content", np.array([0]))[0].dtype == np.float32


def test_an_id_added_twice_is_refused_with_both_places(tmp_path, spaces, tower, embed):
    with GenerationWriter(tmp_path, spaces) as writer:
        writer.add(["a", "b", "c"], embed(3))
        writer.add(["d", "b"], embed(2))
        with pytest.raises(DataError, match=r"'b' was added twice: as document 1 and as 4"):
            writer.publish(query_tower=tower, source={})
    assert unpublished(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0, "length"), (1e-42, "length"), (3e38, "length")],
)
def test_a_vector_that_cannot_be_scored_is_refused_with_its_document(tmp_path, spaces, embed, value, what):
    batch = embed(4)
    batch["content"].present[:] = True
    batch["content"].vectors[2] = value
    with GenerationWriter(tmp_path, spaces) as writer:
        with pytest.raises(DataError, match=rf"space 'content'.*'doc2'.*{what}"):
            writer.add([f"doc{i}" for i in range(4)], batch)
        assert writer.num_docs == 0
        batch["content"].present[2] = False
        writer.add([f"doc{i}" for i in range(4)], batch)


def test_every_code_of_a_document_is_checked_and_stored(tmp_path, tower):
    space = Space("content", 2, "bb22", 3)
    codes = np.tile(np.float32([1, 0]), (2, 3))
    (tower / "query_tower.json").write_text(
        json.dumps(
            {
                "format_version": 2,
                "max_length": 8,
                "spaces": [{"name": "content", "dim": 2, "fingerprint": "bb22", "output": "content", "num_codes": 3}],
            }
        )
    )
    with GenerationWriter(tmp_path / "index", [space]) as writer:
        bad = codes.copy()
        bad[1, 4] = 0.5
        for vectors, what in (
            (bad, r"code 2 \(of 3\) of document 'b' has length 0\.5 instead of 1 \(1 of 2"),
            (codes * np.float32(np.nan), r"code 0 \(of 3\) of document 'a' has a component that is NaN"),
            (codes[:, :2], "for 2 documents of 3 × dimension 2"),
        ):
            with pytest.raises(DataError, match=what):
                writer.add(["a", "b"], {"content": Embedded(vectors, np.ones(2, bool))})
        writer.add(["a", "b"], {"content": Embedded(codes, np.array([True, False]))})
        writer.publish(query_tower=tower, source={})
    index = ForwardIndex.open(tmp_path / "index")
    assert index.spaces == (space,)
    vectors, present = index.vectors("content", np.array([0, 1, -1]))
    assert vectors.tolist() == [[1, 0, 1, 0, 1, 0], [0] * 6, [0] * 6]
    assert present.tolist() == [True, False, False]


def test_shapes_spaces_and_ids_that_do_not_fit_are_refused(tmp_path, spaces, embed):
    batch = embed(2)
    wrong_dim = batch | {"cover": Embedded(np.ones((2, 5), np.float32), np.ones(2, bool))}
    wrong_present = batch | {"cover": Embedded(batch["cover"].vectors, np.ones(3, bool))}
    with GenerationWriter(tmp_path, spaces) as writer:
        for ids, vectors, what in (
            (["a", "b"], wrong_dim, "dimension 4"),
            (["a", "b"], wrong_present, "'present'"),
            (["a"], batch, "1 documents"),
            (["a", "b"], {"cover": batch["cover"]}, "this index has the spaces"),
            (["a", ""], batch, "document 1: its doc_id is empty"),
            (["a", "\ud800"], batch, "document 1: .* not valid text"),
        ):
            with pytest.raises(DataError, match=what):
                writer.add(ids, vectors)
        assert writer.num_docs == 0


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [Space("a", 2, "f")] * 2,
        [Space("../a", 2, "f")],
        [Space("a", 0, "f")],
        [Space("a", 2, "")],
        [Space("a", 2, "f", 0)],
    ],
)
def test_spaces_that_cannot_be_stored_are_refused(tmp_path, bad):
    with pytest.raises(DataError):
        GenerationWriter(tmp_path, bad)


def test_an_empty_index_is_not_published(tmp_path, spaces, tower):
    with GenerationWriter(tmp_path, spaces) as writer, pytest.raises(DataError, match="no documents"):
        writer.publish(query_tower=tower, source={})


@pytest.mark.parametrize("change", [{"fingerprint": "cc33"}, {"dim": 5}, {"name": "frames"}, {"num_codes": 2}])
def test_a_query_tower_of_another_model_is_refused(tmp_path, spaces, tower, embed, publish, change):
    old = publish()
    told = json.loads((tower / "query_tower.json").read_text())
    told["spaces"][0] |= change
    (tower / "query_tower.json").write_text(json.dumps(told))
    with GenerationWriter(tmp_path / "index", spaces) as writer:
        writer.add(["a"], embed(1))
        with pytest.raises(FingerprintError, match=r"space 'cover'.*tower") as refused:
            writer.publish(query_tower=tower, source={})
    assert str(tower) in str(refused.value)
    assert ForwardIndex.open(tmp_path / "index").generation == old


def test_a_query_tower_of_a_later_format_is_refused(tmp_path, spaces, tower, embed):
    (tower / "query_tower.json").write_text('{"format_version": 4, "heads": []}')
    with GenerationWriter(tmp_path, spaces) as writer:
        writer.add(["a"], embed(1))
        with pytest.raises(FormatVersionError, match="format 4"):
            writer.publish(query_tower=tower, source={})


def test_only_the_served_generation_and_its_parent_are_kept(publish, tmp_path):
    names = [publish(seed=seed) for seed in range(4)]
    kept = sorted(path.name for path in (tmp_path / "index" / "generations").iterdir())
    assert kept == sorted(names[-2:])
    assert [name[:8] for name in names] == ["g000001-", "g000002-", "g000003-", "g000004-"]
    assert ForwardIndex.open(tmp_path / "index", names[2]).source == {"seed": 2}


def test_a_reader_keeps_what_it_has_open(publish, tmp_path):
    publish(seed=0)
    index = ForwardIndex.open(tmp_path / "index")
    before = index.vectors("content", np.arange(5))[0]
    for seed in range(1, 4):
        publish(seed=seed)
    np.testing.assert_array_equal(index.vectors("content", np.arange(5))[0], before)


def test_equal_content_gets_different_names(publish):
    assert publish()[8:] != publish()[8:]


def test_traces_of_a_crash_are_removed_by_the_next_writer(publish, tmp_path):
    name = publish()
    generations = tmp_path / "index" / "generations"
    (generations / ".0123.writing").mkdir()
    (generations / ".0123.writing" / "vectors.npy").write_bytes(b"half")
    (generations / f"g000009-{'0' * 16}").mkdir()
    (generations / f"g000009-{'0' * 16}" / "unserved").touch()
    (tmp_path / "index" / ".CURRENT.abc.tmp").write_bytes(b"g0")
    with GenerationWriter(tmp_path / "index", [Space("x", 2, "f")]):
        assert len(unpublished(tmp_path / "index")) == 1
    assert [path.name for path in generations.iterdir()] == [name]
    assert not (tmp_path / "index" / ".CURRENT.abc.tmp").exists()


def test_a_damaged_index_can_be_published_over(publish, tmp_path):
    publish()
    (tmp_path / "index" / "CURRENT").write_bytes(b"")
    name = publish(seed=1)
    assert ForwardIndex.open(tmp_path / "index").generation == name


def test_a_closed_writer_takes_nothing_more(tmp_path, spaces, embed, tower):
    with GenerationWriter(tmp_path, spaces) as writer:
        writer.add(["a"], embed(1))
        writer.publish(query_tower=tower, source={})
        with pytest.raises(DataError, match="open another one"):
            writer.add(["b"], embed(1))


def test_a_second_writer_is_told_who_holds_the_index(tmp_path, spaces):
    with (
        GenerationWriter(tmp_path, spaces),
        pytest.raises(DataError, match=f"process {os.getpid()} is publishing here"),
    ):
        GenerationWriter(tmp_path, spaces)
    GenerationWriter(tmp_path, spaces).close()


def test_a_full_disk_is_told_and_leaves_the_old_generation(publish, tmp_path, spaces, embed, tower, monkeypatch):
    old = publish()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with GenerationWriter(tmp_path / "index", spaces) as writer:
        writer.add(["a"], embed(1))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            writer.publish(query_tower=tower, source={})
    monkeypatch.undo()
    assert unpublished(tmp_path / "index") == []
    assert ForwardIndex.open(tmp_path / "index").generation == old
    assert publish(seed=1).startswith("g000002-")
