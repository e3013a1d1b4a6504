"""One flipped bit: `verify` finds it wherever it is, and a lazy reader never gives another vector than was written."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, IntegrityError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.layout import vectors_file

IDS = [f"doc-{i}" for i in range(40)]


@pytest.fixture
def index_dir(tmp_path, tower, embed, spaces, monkeypatch) -> Path:
    """A base of bytes with content hashes, and an overlay on it; blocks of a few rows."""
    monkeypatch.setattr("mmsearch.index.blocks._BLOCK_BYTES", 64)
    with GenerationWriter(tmp_path / "index", spaces, dtype="int8") as writer:
        writer.add(IDS[:30], embed(30, 1), np.arange(240, dtype=np.uint64).reshape(30, 8))
        base = writer.publish(query_tower=tower, source={})
    with GenerationWriter(tmp_path / "index", spaces, base=base) as writer:
        writer.add(IDS[25:], embed(15, 2), np.ones((15, 8), np.uint64))
        writer.delete(IDS[:5])
        writer.publish(query_tower=None, source={})
    return tmp_path / "index"


def answers(index_dir: Path) -> dict[str, object]:
    """All that an index says, the vectors of documents by id."""
    index = ForwardIndex.open(index_dir)
    rows = index.rows(IDS)
    said: dict[str, object] = {f"id of row {row}": index.doc_ids[row] for row in range(index.num_rows)}
    said |= {f"id of row {row} again": doc_id for row, doc_id in enumerate(index.doc_ids)}
    for space in ("cover", "content"):
        vectors, present = index.vectors(space, rows)
        said |= {f"{space} {IDS[i]}": vectors[i].tobytes() for i in np.flatnonzero(present)}
        for block, block_vectors in index.blocks(space):
            said |= {f"{space} row {row}": v.tobytes() for row, v in zip(block, block_vectors, strict=True)}
    return said | {f"contents {IDS[i]}": index.contents(rows[[i]]).tobytes() for i in np.flatnonzero(rows >= 0)}


def files_of(index_dir: Path) -> list[Path]:
    generations = (path for path in (index_dir / "generations").rglob("*") if path.is_file())
    return sorted([*generations, index_dir / "CURRENT"])


def flip_bits(index_dir: Path, num: int, seed: int) -> None:
    truth, chance, paths, told = answers(index_dir), random.Random(seed), files_of(index_dir), 0
    for _ in range(num):
        path = chance.choice(paths)
        whole = path.read_bytes()
        bit = chance.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            ForwardIndex.open(index_dir, verify="full")
        try:
            assert answers(index_dir).items() <= truth.items(), f"bit {bit} of {path.name}"
        except CorruptIndexError:
            told += 1
        path.write_bytes(whole)
    ForwardIndex.open(index_dir).verify()
    assert answers(index_dir) == truth
    assert 0 < told < num, "some flips are told, others only cost documents"


@pytest.fixture
def quiet():
    """The log of damaged blocks would have thousands of lines."""
    logging.getLogger("mmsearch.index.blocks").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("mmsearch.index.blocks").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
def test_no_flipped_bit_gives_a_wrong_answer(index_dir):
    flip_bits(index_dir, 500, 7)


@pytest.mark.nightly
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("seed", range(20))
def test_no_flipped_bit_of_thousands_gives_a_wrong_answer(index_dir, seed):
    flip_bits(index_dir, 500, seed)


def damage(index_dir: Path, row: int) -> Path:
    """Flip a bit of a vector of the overlay's content."""
    path = index_dir / "generations" / ForwardIndex.open(index_dir).generation / vectors_file("content")
    data = bytearray(path.read_bytes())
    data[128 + 8 * row] ^= 4
    path.write_bytes(data)
    return path


def test_a_damaged_block_costs_its_rows_alone_and_is_told_once(index_dir, caplog):
    before = ForwardIndex.open(index_dir)
    rows = before.rows(IDS[25:])
    vectors, present = before.vectors("content", rows)
    path = damage(index_dir, 9)  # blocks have 8 rows of 8 bytes here
    index = ForwardIndex.open(index_dir)
    bad = (np.arange(15) >= 8) & (np.arange(15) < 16)
    for _ in range(2):
        now, there = index.vectors("content", rows)
        np.testing.assert_array_equal(there, present & ~bad)
        np.testing.assert_array_equal(now[there], vectors[there])
        assert not now[~there].any()
    assert [r.getMessage().split(": ")[1] for r in caplog.records] == [
        "rows 8 … 15 are damaged and count as missing from now on; publish again"
    ]
    assert not set(rows[bad]) & {int(row) for block, _ in index.blocks("content") for row in block}
    np.testing.assert_array_equal(index.sound("content", rows), ~bad)
    with pytest.raises(CorruptIndexError, match=r"content\.npy: 7 of 15 rows to be copied are damaged"):
        index.raw("content", rows)
    np.testing.assert_array_equal(index.raw("content", rows[~bad]).present, present[~bad])
    assert ForwardIndex.open(index_dir, verify="none").sound("content", rows).all()
    with pytest.raises(CorruptIndexError, match=path.name):
        index.verify()


def test_warm_compares_every_block_once(index_dir, caplog):
    damage(index_dir, 9)
    index = ForwardIndex.open(index_dir)
    index.warm()
    assert len(caplog.records) == 1
    index.warm()
    index.vectors("content", index.rows(IDS))
    assert len(caplog.records) == 1


def test_damaged_ids_never_raise_anything_but_our_errors(publish, tmp_path):
    """Bit rot that only `verify` sees: a look-up may miss or tell, and never answers with a wrong row."""
    publish(IDS)
    index_dir, chance = tmp_path / "index", random.Random(3)
    for _ in range(200):
        path = chance.choice([p for p in files_of(index_dir) if p.name.startswith("ids.")])
        whole = path.read_bytes()
        damaged = bytearray(whole)
        bit = chance.randrange(8 * 128, 8 * len(whole))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            rows = ForwardIndex.open(index_dir).rows(IDS)
            assert set(np.flatnonzero(rows != np.arange(40))) <= set(np.flatnonzero(rows == -1))
        except CorruptIndexError:
            pass
        path.write_bytes(whole)
