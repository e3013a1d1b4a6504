"""Handing out items with what is known of them, and taking them back."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.index.ids import hash_ids
from mmsearch.protocols import Embedded
from mmsearch.types import Modality, Space
from serving.items import ItemCutter, PlannedItem, Videos
from serving.towers import KeptOutputs
from serving.work import EmbeddedShard, ShardStore, read_outputs
from serving.work_item import Done, Quarantined, Reason, WorkItem
from serving.work_list import WorkList

SPACES = (Space("cover", 2, "f"),)
COVER = Modality.COVER
IDS = ["a", "b", "c", "d", "e"]
BAD = Quarantined("b", Reason.CRASH, "it died")


@pytest.fixture
def item():
    contents = np.arange(1, 41, dtype=np.uint64).reshape(5, 8)
    videos = Videos(np.arange(10, 15), hash_ids([i.encode() for i in IDS]), contents, np.ones((5, 1), bool))
    return PlannedItem("recipe", videos, (COVER,))


@pytest.fixture
def store(tmp_path):
    return ShardStore(tmp_path, SPACES, "float32")


def embedded_but(store, item, bad=BAD):
    """Do an item, all but one video of it; outputs are worth their ids' place in the alphabet."""
    ids = tuple(doc_id for doc_id in IDS if doc_id != bad.doc_id)
    vectors = Embedded(np.tile(np.float32([1, 0]), (4, 1)), np.ones(4, bool))
    towers = {COVER: {n: np.full((1, 3), ord(doc_id), np.float32) for n, doc_id in enumerate(ids)}}
    store.save(item.key, EmbeddedShard(ids, {"cover": vectors}, towers, (bad,)))
    return Done(item.key, 5, (bad,))


def values(outputs):
    return {place: chr(int(value[0, 0])) for place, value in outputs[COVER].items()}


@pytest.mark.parametrize("before", [False, True], ids=["done now", "done before"])
def test_outputs_of_an_item_are_kept_in_the_places_of_their_videos(tmp_path, item, store, before):
    with KeptOutputs(tmp_path / "kept", {COVER: "tower"}) as kept:
        done = embedded_but(store, item) if before else None
        todo = WorkList([item], store, kept, tmp_path, lambda _: None)
        assert (len(todo), todo.num_videos) == ((1, 0) if before else (2, 5))
        if done is None:
            (given,) = todo
            assert (given.key, given.rows, given.reused) == (item.key, (10, 11, 12, 13, 14), None)
            assert given in todo
            assert todo.finish(embedded_but(store, item)) == 5
        assert values(kept.find(item)) == {0: "a", 2: "c", 3: "d", 4: "e"}
    assert not store.take_outputs(item.key), "they are not kept twice"
    ((video, contents),) = todo.quarantined
    assert (video, contents.tolist()) == (BAD, item.videos.contents[1].tolist())


def test_an_item_is_handed_out_with_what_is_known_of_it(tmp_path, item, store):
    with KeptOutputs(tmp_path / "kept", {COVER: "tower"}) as kept:
        kept.put(item, {COVER: {3: np.full((1, 3), ord("d"), np.float32)}})
        todo = WorkList([item], store, kept, tmp_path, lambda _: None)
        (given,) = todo
        assert values(read_outputs(given.reused)) == {3: "d"}
        todo.finish(embedded_but(store, item))
        assert not given.reused.exists()


def test_the_last_item_knows_who_is_in_quarantine(tmp_path, item, store):
    last = WorkItem("check", (10,))
    heard = []
    todo = WorkList([item], store, None, tmp_path, lambda ids: heard.append(set(ids)) or last)
    drawn = iter(todo)
    next(drawn)
    todo.finish(embedded_but(store, item))
    assert (next(drawn), heard) == (last, [{"b"}])
    assert todo.finish(Done("check", 1)) == 0


@pytest.mark.parametrize("sizes", [[1] * 10, [10], [3, 0, 4, 3], [0]])
def test_items_do_not_depend_on_how_their_videos_came(sizes):
    contents = np.arange(80, dtype=np.uint64).reshape(10, 8)
    every = Videos(np.arange(10), np.arange(10, dtype=np.uint64), contents, np.zeros((10, 0), bool))
    cutter, items, start = ItemCutter("recipe", (), 4), [], 0
    for size in sizes:
        items += cutter.add(every[start : start + size])
        start += size
    items += cutter.close()
    assert [item.videos.rows.tolist() for item in items] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]][: -(-start // 4)]
    whole = [PlannedItem("recipe", every[at : at + 4], ()).key for at in range(0, start, 4)]
    assert [item.key for item in items] == whole
    assert len({*whole, *(PlannedItem("other", every[at : at + 4], ()).key for at in (0, 4, 8))}) == len(whole) + 3


@pytest.mark.parametrize("part", ["id_hashes", "contents", "known"])
def test_a_key_moves_with_all_that_decides_the_bytes(item, part):
    parts = {name: getattr(item.videos, name).copy() for name in ("rows", "id_hashes", "contents", "known")}
    parts[part][-1] = 0
    assert PlannedItem("recipe", Videos(**parts), item.keep).key != item.key
