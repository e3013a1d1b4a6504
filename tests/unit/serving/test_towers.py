"""Outputs of towers kept in LMDB: what was put comes back, and nothing else."""

from __future__ import annotations

import os
import random
import resource
import signal

import numpy as np
import pytest

from mmsearch.types import Modality
from serving.items import PlannedItem, Videos
from serving.towers import KeptOutputs

COVER, FRAMES = Modality.COVER, Modality.FRAMES
MARKS = {COVER: "tower 1", FRAMES: "tower 2"}
COLUMNS = [list(Modality).index(m) for m in MARKS]


def item(num=6, seed=0, known=True):
    rng = np.random.default_rng(seed)
    contents = rng.integers(1, 1 << 62, (num, 8)).astype(np.uint64)
    ids = rng.integers(1, 1 << 62, num).astype(np.uint64)
    return PlannedItem("recipe", Videos(np.arange(num), ids, contents, np.full((num, 2), known)), (COVER, FRAMES))


def outputs(places, shape=(5, 3), seed=0):
    rng = np.random.default_rng(seed)
    return {place: rng.standard_normal(shape).astype(np.float32) for place in places}


def assert_same(found, expected):
    assert {m: list(kept) for m, kept in found.items()} == {m: list(kept) for m, kept in expected.items()}
    for modality, kept in expected.items():
        for place, value in kept.items():
            np.testing.assert_array_equal(found[modality][place], value)
            assert found[modality][place].dtype == np.float32


def test_what_was_put_comes_back_after_opening_again(tmp_path):
    given = {COVER: outputs(range(6)), FRAMES: outputs([1, 4], (2, 7))}
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        assert kept.find(item()) == {}
        kept.put(item(), given)
        assert_same(kept.find(item()), given)
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        assert_same(kept.find(item()), given)
        assert kept.find(item(known=False)) == {}, "the plan does not ask for what changed"


@pytest.mark.parametrize("what", ["content", "video", "weights"])
def test_other_content_other_videos_and_other_weights_find_nothing(tmp_path, what):
    mine = item()
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(mine, {COVER: outputs(range(6)), FRAMES: outputs(range(6))})
    videos = mine.videos
    if what == "content":
        videos = Videos(videos.rows, videos.id_hashes, videos.contents + np.uint64(1), videos.known)
    if what == "video":
        videos = Videos(videos.rows, videos.id_hashes + np.uint64(1), videos.contents, videos.known)
    marks = {COVER: "tower 9", FRAMES: "tower 1"} if what == "weights" else MARKS
    with KeptOutputs(tmp_path / "kept", marks) as kept:
        assert kept.find(PlannedItem("recipe", videos, mine.keep)) == {}


def test_pruning_leaves_what_a_video_still_needs(tmp_path):
    old, mine = item(seed=1), item()
    with KeptOutputs(tmp_path / "kept", {COVER: "an older tower"}) as kept:
        kept.put(mine, {COVER: outputs(range(6))})
    given = {COVER: outputs(range(6)), FRAMES: outputs(range(6))}
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(old, given)
        kept.put(mine, given)
        contents = mine.videos.contents
        columns = dict(zip(MARKS, COLUMNS, strict=True))
        alive = {m: contents[1:, at] for m, at in columns.items()}
        assert kept.prune(alive) == 6 + 12 + 2, "of older weights, of the other videos, of the first video"
        assert kept.prune(alive) == 0
        assert_same(kept.find(mine), {m: {n: v for n, v in some.items() if n} for m, some in given.items()})
        assert kept.find(old) == {}


def test_pruning_goes_through_more_keys_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.towers._blocks.__defaults__", (5,))
    mine = item(23)
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(mine, {COVER: outputs(range(23), (1, 2))})
        alive = {COVER: mine.videos.contents[::2, COLUMNS[0]], FRAMES: np.empty(0, np.uint64)}
        assert kept.prune(alive) == 11
        assert list(kept.find(mine)[COVER]) == list(range(0, 23, 2))


def test_a_damaged_byte_costs_its_value_and_never_gives_another_one(tmp_path):
    given = outputs(range(6), (64, 9))
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(), {COVER: given})
    path = tmp_path / "kept" / "data.mdb"
    whole = path.read_bytes()
    starts = [whole.find(value.tobytes()) for value in given.values()]
    chance = random.Random(0)
    for place, start in enumerate(starts):
        damaged = bytearray(whole)
        damaged[start + chance.randrange(given[place].nbytes)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with KeptOutputs(tmp_path / "kept", MARKS) as kept:
            assert_same(kept.find(item()), {COVER: {n: v for n, v in given.items() if n != place}})


def test_a_flipped_bit_anywhere_ends_no_refresh_and_gives_no_other_value(tmp_path):
    """In children: LMDB might end the process. It throws the file away where a page is damaged."""
    given = outputs(range(60), (4, 9))
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(60), {COVER: given, FRAMES: outputs(range(60), (60, 20))})
    path = tmp_path / "kept" / "data.mdb"
    whole = path.read_bytes()
    chance, codes = random.Random(4), []
    for number in range(20):
        damaged = bytearray(whole)
        head = chance.randrange(len(whole) // 4096) * 4096 + chance.randrange(24)  # every other one in a page's head
        damaged[head if number % 2 else chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        child = os.fork()
        if not child:
            code = 1
            try:
                with KeptOutputs(tmp_path / "kept", MARKS) as kept:
                    found = kept.find(item(60)).get(COVER, {})
                    kept.put(item(9, seed=2), {COVER: outputs(range(9))})
                    kept.prune({COVER: np.empty(0, np.uint64)})
                    code = 0 if all(np.array_equal(value, given[place]) for place, value in found.items()) else 2
            finally:
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert codes == [0] * 20


@pytest.mark.parametrize("keep", [0, 100, 4096, 12_000, -4096])
def test_a_cut_file_is_begun_anew(tmp_path, keep):
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(), {COVER: outputs(range(6), (64, 9))})
    path = tmp_path / "kept" / "data.mdb"
    path.write_bytes(path.read_bytes()[:keep])
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        assert kept.find(item()) == {}
        kept.put(item(), {COVER: outputs([2])})
        assert_same(kept.find(item()), {COVER: outputs([2])})


def refused(folder, given):
    """Put more than there is room for, twice; what was there before must be found, then and afterwards."""
    with KeptOutputs(folder, MARKS) as kept:
        for seed in (1, 2):
            kept.put(item(seed=seed), {FRAMES: outputs(range(6), (64, 99))})
            assert kept.find(item(seed=seed)) == {}, "all of a put or nothing"
        assert_same(kept.find(item()), given)
    with KeptOutputs(folder, MARKS) as kept:
        assert_same(kept.find(item()), given)


def test_a_full_map_costs_what_is_put_and_nothing_that_is_there(tmp_path, monkeypatch, caplog):
    given = {COVER: outputs(range(6))}
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(), given)
    monkeypatch.setattr("serving.towers._MAP_SIZE", 1 << 16)
    refused(tmp_path / "kept", given)
    assert caplog.text.count("what is there stays: mdb_put: MDB_MAP_FULL") == 1, "it is told once"


def test_a_disk_that_takes_no_more_costs_what_is_put_and_nothing_that_is_there(tmp_path):
    given = {COVER: outputs(range(6))}
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(), given)
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
            refused(tmp_path / "kept", given)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_where_it_cannot_be_opened_nothing_is_kept_and_nothing_fails(tmp_path):
    (tmp_path / "kept").write_bytes(b"a file")
    with KeptOutputs(tmp_path / "kept", MARKS) as kept:
        kept.put(item(), {COVER: outputs(range(6))})
        assert kept.find(item()) == {}
        assert kept.prune({COVER: np.empty(0, np.uint64)}) == 0
    assert (tmp_path / "kept").read_bytes() == b"a file"
