"""Keeping the vectors of finished shards."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.index.lock import WriteLock
from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.work import ShardStore, clear, work_of

SPACES = (Space("cover", 2, "f1"), Space("content.title", 3, "f2", 4))
IDS = ["a", "视频"]


@pytest.fixture
def embedded() -> dict[str, Embedded]:
    rng = np.random.default_rng(0)
    present = np.array([True, False])
    return {s.name: Embedded(rng.standard_normal((2, s.row_dim)).astype(np.float32), present) for s in SPACES}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_kept_comes_back_as_it_will_be_stored(tmp_path, embedded, dtype):
    store = ShardStore(tmp_path, SPACES, dtype)
    assert store.load("k", IDS) is None
    store.save("k", IDS, embedded)
    kept = store.load("k", IDS)
    assert kept is not None
    for name, expected in embedded.items():
        np.testing.assert_array_equal(kept[name].vectors, expected.vectors.astype(dtype).astype(np.float32))
        np.testing.assert_array_equal(kept[name].present, expected.present)
        assert kept[name].vectors.dtype == np.float32


def test_vectors_of_other_documents_are_not_taken(tmp_path, embedded):
    store = ShardStore(tmp_path, SPACES, "float16")
    store.save("k", IDS, embedded)
    assert store.load("k", ["视频", "a"]) is None


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path, embedded):
    store = ShardStore(tmp_path, SPACES, "float32")
    store.save("k", IDS, embedded)
    whole = (tmp_path / "k.npz").read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        (tmp_path / "k.npz").write_bytes(damaged)
        kept = store.load("k", IDS)
        if kept is not None:  # the time stamp of a zip member, say
            for name, expected in embedded.items():
                np.testing.assert_array_equal(kept[name].vectors, expected.vectors)
    (tmp_path / "k.npz").write_bytes(whole[:-1])
    assert store.load("k", IDS) is None


def test_work_is_cleared_unless_someone_is_at_it(tmp_path):
    work_of(tmp_path).mkdir()
    lock = WriteLock(tmp_path)
    clear(tmp_path)
    assert work_of(tmp_path).exists()
    lock.release()
    clear(tmp_path)
    assert not work_of(tmp_path).exists()
    clear(tmp_path)
