"""Keeping the vectors of finished shards."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from mmsearch.protocols import Embedded
from mmsearch.types import Modality, Space
from serving.work import GIVEN_UP_AFTER, EmbeddedShard, ShardStore, clear, read_outputs, work_of, write_outputs
from serving.work_item import Quarantined, Reason

SPACES = (Space("cover", 2, "f1"), Space("content.title", 3, "f2", 4))
QUARANTINED = (Quarantined("坏", Reason.NOT_FINITE, "cover: NaN"),)
OUTPUTS = {Modality.COVER: {1: np.full((5, 3), 1 / 3, np.float32)}, Modality.FRAMES: {}}


@pytest.fixture
def shard() -> EmbeddedShard:
    rng = np.random.default_rng(0)
    present = np.array([True, False])
    embedded = {s.name: Embedded(rng.standard_normal((2, s.row_dim)).astype(np.float32), present) for s in SPACES}
    return EmbeddedShard(("a", "视频"), embedded, OUTPUTS, QUARANTINED)


@pytest.mark.parametrize(("dtype", "kept_as"), [("float16", "float16"), ("float32", "float32"), ("int8", "float32")])
def test_what_is_kept_comes_back_as_it_will_be_stored(tmp_path, shard, dtype, kept_as):
    store = ShardStore(tmp_path, SPACES, dtype)
    assert store.load("k") is None
    store.save("k", shard)
    kept = store.load("k")
    assert kept is not None
    assert (kept.doc_ids, kept.quarantined) == (shard.doc_ids, QUARANTINED)
    for name, expected in shard.embedded.items():
        np.testing.assert_array_equal(kept.embedded[name].vectors, expected.vectors.astype(kept_as).astype(np.float32))
        np.testing.assert_array_equal(kept.embedded[name].present, expected.present)
        assert kept.embedded[name].vectors.dtype == np.float32
    outputs = store.take_outputs("k")
    assert list(outputs) == [Modality.COVER]
    assert list(outputs[Modality.COVER]) == [1]
    np.testing.assert_array_equal(outputs[Modality.COVER][1], OUTPUTS[Modality.COVER][1])
    assert store.take_outputs("k") == {}, "they are somewhere else now"
    assert store.load("k") is not None


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path, shard):
    store = ShardStore(tmp_path, SPACES, "float32")
    store.save("k", shard)
    whole = (tmp_path / "k.npz").read_bytes()
    for at in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        (tmp_path / "k.npz").write_bytes(damaged)
        kept = store.load("k")
        if kept is not None:  # the time stamp of a zip member, say
            assert (kept.doc_ids, kept.quarantined) == (shard.doc_ids, QUARANTINED)
            for name, expected in shard.embedded.items():
                np.testing.assert_array_equal(kept.embedded[name].vectors, expected.vectors)
    (tmp_path / "k.npz").write_bytes(whole[:-1])
    assert store.load("k") is None


def test_outputs_for_an_item_come_back_and_damaged_ones_are_none(tmp_path):
    path = tmp_path / "k.reused.npz"
    write_outputs(path, OUTPUTS)
    (kept,) = read_outputs(path).values()
    np.testing.assert_array_equal(kept[1], OUTPUTS[Modality.COVER][1])
    path.write_bytes(path.read_bytes()[:-1])
    assert read_outputs(path) == {} == read_outputs(tmp_path / "none.npz")


def test_own_work_is_cleared_and_that_of_others_when_it_was_given_up(tmp_path):
    own, others = work_of(tmp_path, "a" * 32), work_of(tmp_path, "b" * 32)
    for folder in (own, others):
        (folder / "query_tower").mkdir(parents=True)
        (folder / "query_tower" / "x").write_bytes(b"x")
    old = time.time() - GIVEN_UP_AFTER - 60
    for path in (others, others / "query_tower"):
        os.utime(path, (old, old))
    clear(tmp_path, "a" * 32)
    assert not own.exists()
    assert (others / "query_tower" / "x").exists(), "a file in it is new"
    os.utime(others / "query_tower" / "x", (old, old))
    clear(tmp_path, "a" * 32)
    assert not (tmp_path / ".work").exists()
    clear(tmp_path, "a" * 32)
