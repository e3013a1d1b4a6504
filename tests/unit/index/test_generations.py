"""Which generations there are, which one is served, and which ones go."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index import ForwardIndex, GenerationWriter, collect, list_generations, serve
from mmsearch.index.layout import write_current
from mmsearch.index.lease import Lease, is_held


def there(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "index" / "generations").iterdir())


def test_generations_are_listed(publish, lay, tmp_path):
    base = publish(seed=1)
    top = lay(base, ["f", "a"], ["b"])
    index = ForwardIndex.open(tmp_path / "index", base)
    first, second = list_generations(tmp_path / "index")
    assert (first.name, first.number, first.base, first.num_docs) == (base, 1, None, 5)
    assert (second.name, second.number, second.base, second.num_docs) == (top, 2, base, 5)
    assert [(g.is_current, g.is_held) for g in (first, second)] == [(False, True), (True, False)]
    folder = tmp_path / "index" / "generations" / base
    assert first.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert second.created_at >= first.created_at
    del index
    assert not list_generations(tmp_path / "index")[0].is_held
    with pytest.raises(DataError, match="publish one first"):
        list_generations(tmp_path)


def test_what_cannot_be_read_is_not_listed(publish, lay, tmp_path, caplog):
    base = publish()
    top = lay(base, ["f"])
    (tmp_path / "index" / "generations" / base / "manifest.json").write_bytes(b"{}")
    assert list_generations(tmp_path / "index") == []
    assert [name in caplog.text for name in (base, top)] == [True, True]


def test_an_older_generation_is_served_again(publish, lay, tmp_path):
    base = publish(seed=1)
    top = lay(base, ["f"])
    other = publish(seed=2)
    index_dir = tmp_path / "index"
    for name in (top, base, other):
        serve(index_dir, name)
        assert ForwardIndex.open(index_dir).generation == name
    path = index_dir / "generations" / base / "present.cover.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    for damaged in (base, top):
        with pytest.raises(CorruptIndexError, match=r"present\.cover\.npy"):
            serve(index_dir, damaged)
    for unknown in ("g000009-0123456789abcdef", "../generations", ""):
        with pytest.raises(DataError, match="no generation"):
            serve(index_dir, unknown)
    assert ForwardIndex.open(index_dir).generation == other
    with pytest.raises(DataError, match="publish one first"):
        serve(tmp_path, base)


def test_a_generation_that_was_never_served_is_not_served_by_hand(publish, tmp_path):
    old, new = publish(seed=1), publish(seed=2)
    (tmp_path / "index" / "generations" / old / "unserved").touch()
    with pytest.raises(DataError, match="never served"):
        serve(tmp_path / "index", old)
    assert [g.name for g in list_generations(tmp_path / "index")] == [new]
    assert collect(tmp_path / "index", 5) == []
    assert there(tmp_path) == [new], "it counts as the trace of a crash"


def test_after_a_rollback_the_next_generation_comes_from_the_older_one(publish, tmp_path):
    names = [publish(seed=seed, keep=5) for seed in range(3)]
    serve(tmp_path / "index", names[0])
    names.append(publish(seed=3, keep=1))
    assert names[3].startswith("g000004-")
    assert there(tmp_path) == [names[0], names[3]], "what is served, and its parent"


def test_what_is_needed_stays_and_the_rest_goes(publish, lay, tmp_path):
    bases = [publish(seed=seed, keep=9) for seed in range(4)]
    overlays = [lay(bases[2], ["f"], seed=seed) for seed in range(4)]
    assert there(tmp_path) == sorted([*bases[2:], *overlays[2:]]), "two of each kind"
    newest = publish(seed=9, keep=1)
    assert there(tmp_path) == sorted([bases[2], overlays[3], newest]), "the parent is an overlay, and needs its base"
    assert publish(seed=10, keep=1) in there(tmp_path)
    assert len(there(tmp_path)) == 4, "the newest overlay stays as such"
    with pytest.raises(DataError, match="keep is 0"):
        collect(tmp_path / "index", 0)
    with pytest.raises(DataError, match="publish one first"):
        collect(tmp_path)


def test_what_a_reader_holds_stays_until_it_lets_go(publish, lay, tmp_path):
    bases = [publish(seed=0)]
    top = lay(bases[0], ["f"], ["a"])
    reader = ForwardIndex.open(tmp_path / "index")
    for seed in range(3):
        bases.append(publish(seed=seed))
        lay(bases[-1], ["g"])
        lay(bases[-1], ["h"])
    assert {top, bases[0]} <= set(there(tmp_path))
    assert bases[1] not in there(tmp_path)
    reader.verify()
    assert reader.rows(["a", "f"]).tolist() == [-1, 5]
    assert collect(tmp_path / "index", 2) == []
    del reader
    assert collect(tmp_path / "index", 2) == [top, bases[0]]


def test_the_base_of_an_overlay_that_is_held_stays(publish, lay, tmp_path):
    """Between the two moments in which a reader takes hold of them."""
    base = publish(seed=0)
    top = lay(base, ["f"])
    lease = Lease(tmp_path / "index" / "generations" / top)
    for seed in range(3):
        lay(publish(seed=seed), ["g"])
    assert {base, top} <= set(there(tmp_path))
    del lease
    collect(tmp_path / "index", 1)
    assert not {base, top} & set(there(tmp_path))


def test_a_generation_that_goes_between_finding_and_holding_it_is_not_read(publish, tmp_path, monkeypatch):
    old, new = publish(seed=1), publish(seed=2)
    index_dir, flock = tmp_path / "index", fcntl.flock
    serve(index_dir, old)

    def too_late(descriptor, how):
        if how == fcntl.LOCK_SH and (index_dir / "generations" / old).exists():
            write_current(index_dir, new)
            (index_dir / "generations" / old).rename(index_dir / "generations" / ".0123.removing")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    assert ForwardIndex.open(index_dir).generation == new


def test_where_there_are_no_locks_readers_read_and_nothing_goes(publish, tmp_path, monkeypatch, caplog):
    names = [publish(seed=seed, keep=9) for seed in range(3)]
    flock = fcntl.flock

    def none(descriptor, how):
        if how == fcntl.LOCK_SH or os.readlink(f"/proc/self/fd/{descriptor}").endswith("manifest.json"):
            raise OSError(errno.ENOLCK, "No locks available")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", none)
    assert ForwardIndex.open(tmp_path / "index").generation == names[2]
    assert "cannot be held against removal: No locks available" in caplog.text
    assert collect(tmp_path / "index", 1) == []


def test_a_writer_holds_the_base_of_its_overlay(publish, tmp_path, spaces):
    base = publish()
    folder = tmp_path / "index" / "generations" / base
    with GenerationWriter(tmp_path / "index", spaces, base=base):
        assert is_held(folder)
        with pytest.raises(DataError, match=f"process {os.getpid()} is publishing here"):
            collect(tmp_path / "index", 1)
    assert not is_held(folder)


def test_an_open_index_that_cannot_be_opened_holds_nothing(publish, tmp_path):
    name = publish()
    folder = tmp_path / "index" / "generations" / name
    (folder / "vectors.cover.npy").write_bytes(b"")
    with pytest.raises(CorruptIndexError):
        ForwardIndex.open(tmp_path / "index")
    assert not is_held(folder)


def test_nothing_goes_while_what_is_served_cannot_be_read(publish, tmp_path):
    names = [publish(seed=seed, keep=9) for seed in range(3)]
    (tmp_path / "index" / "generations" / names[2] / "manifest.json").write_bytes(b"{}")
    assert collect(tmp_path / "index", 1) == []
    assert there(tmp_path) == names
    last = publish(seed=4)
    assert ForwardIndex.open(tmp_path / "index").generation == last


def test_a_removed_generation_can_still_be_read_by_who_mapped_it(publish, tmp_path):
    """Where the lease is worth nothing (a file system without locks), the mapping still is."""
    publish(seed=0)
    index = ForwardIndex.open(tmp_path / "index")
    before = index.vectors("content", np.arange(5))[0]
    (tmp_path / "index" / "generations" / index.generation).rename(tmp_path / "gone")
    for path in (tmp_path / "gone").glob("*.npy"):
        path.unlink()
    np.testing.assert_array_equal(index.vectors("content", np.arange(5))[0], before)
