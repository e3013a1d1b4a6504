"""A scorer that follows the index: swaps, generations that cannot be opened, and the end."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, serve
from mmsearch.index.layout import write_current
from mmsearch.index.lease import is_held
from mmsearch.scoring import LiveScorer

DOC_IDS = [f"v{i}" for i in range(30)]
NEVER = 1e6


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_goes_on_to_what_is_published(publish_wide):
    folder = publish_wide()
    with LiveScorer(folder, check_every_s=0.01) as live:
        first = live.current
        assert live.generation == first.index.generation == ForwardIndex.open(folder).generation
        before = first.score("red panda", DOC_IDS)
        publish_wide(seed=9)
        until(lambda: live.generation != before.generation)
        after = live.current.score("red panda", DOC_IDS)
        assert after.generation == live.generation
        assert (after.values != before.values).any()
        assert live.current.encoder is first.encoder, "the query tower has the same bytes"
        again = first.score("red panda", DOC_IDS)
        assert again.values.tobytes() == before.values.tobytes(), "a request stays with what it took"
        assert live.error is None


def test_a_look_tells_whether_something_changed(publish_wide):
    folder = publish_wide()
    with LiveScorer(folder, check_every_s=NEVER) as live:
        assert not live.check()
        first = live.generation
        publish_wide(seed=9)
        assert live.check()
        assert not live.check()
        serve(folder, first)
        assert live.check()
        assert live.generation == first, "a rollback is followed as well"


def test_one_that_cannot_be_opened_is_told_and_the_former_goes_on(publish_wide, caplog, monkeypatch):
    folder = publish_wide()
    now = [0.0]
    monkeypatch.setattr("mmsearch.scoring.live.time.monotonic", lambda: now[0])
    with LiveScorer(folder, check_every_s=NEVER) as live:
        good = live.generation
        publish_wide(seed=9)
        bad = ForwardIndex.open(folder)
        model = bad.query_tower / "model.onnx"
        content = model.read_bytes()
        model.chmod(0o644)
        model.write_bytes(content[:-1])
        with caplog.at_level(logging.ERROR):
            assert not live.check()
            assert live.error is not None
            assert "model.onnx" in live.error
            assert not live.check(), "not tried again so soon"
            now[0] += 1000
            assert not live.check()
        assert len(caplog.records) == 1, "the same fault is logged once"
        assert live.current.score("red panda", DOC_IDS).generation == good
        model.write_bytes(content)
        now[0] += 1000
        assert live.check()
        assert (live.generation, live.error) == (bad.generation, None)


def test_an_index_that_goes_and_comes_back_is_no_end(publish_wide):
    folder = publish_wide()
    with LiveScorer(folder, check_every_s=NEVER) as live:
        generation = live.generation
        (folder / "CURRENT").rename(folder / "elsewhere")
        assert not live.check()
        assert "no index here" in (live.error or "")
        assert not any(live.check() for _ in range(1500)), "however long that lasts"
        assert live.current.score("red panda", DOC_IDS).generation == generation
        write_current(folder, "g000099-0123456789abcdef")
        assert not live.check()
        assert "g000099" in (live.error or "")
        (folder / "elsewhere").replace(folder / "CURRENT")
        assert not live.check(), "it is the one that is scored already"
        assert live.error is None


def test_without_an_index_it_does_not_begin(tmp_path):
    before = threading.active_count()
    with pytest.raises(DataError, match="no index here"):
        LiveScorer(tmp_path)
    assert threading.active_count() == before


def test_it_lets_go_of_what_nobody_uses(publish_wide):
    folder = publish_wide()
    live = LiveScorer(folder, check_every_s=0.01)
    first, generation = weakref.ref(live.current), folder / "generations" / live.generation
    publish_wide(seed=9)
    until(lambda: folder / "generations" / live.generation != generation)
    until(lambda: first() is None)
    assert not is_held(generation)
    live.close()
    assert live.current.score("red panda", DOC_IDS).generation == live.generation, "what was closed still answers"
    publish_wide(seed=2)
    time.sleep(0.05)
    assert live.generation != ForwardIndex.open(folder).generation, "and follows no more"


def test_one_that_was_not_closed_ends_with_its_owner(publish_wide):
    live = LiveScorer(publish_wide(), check_every_s=0.01)
    thread, gone = live._thread, weakref.ref(live)
    assert thread is not None
    del live
    thread.join(10)
    gc.collect()
    assert not thread.is_alive()
    assert gone() is None


def test_threads_see_whole_generations_while_it_changes(publish_wide):
    folder = publish_wide()
    expected = {}
    for seed in (0, 9):
        publish_wide(seed=seed)
        with LiveScorer(folder, check_every_s=NEVER) as live:
            expected[live.generation] = live.current.score("red panda", DOC_IDS).values.tobytes()
    first, second = expected
    stop = threading.Event()

    def ask(live: LiveScorer) -> int:
        num = 0
        while not stop.is_set():
            found = live.current.score("red panda", DOC_IDS)
            assert found.values.tobytes() == expected[found.generation]
            num += 1
        return num

    with LiveScorer(folder, check_every_s=0.002) as live, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, live) for _ in range(3)]
        for turn in range(20):
            name = (first, second)[turn % 2]
            write_current(folder, name)
            until(lambda name=name: live.generation == name)
        stop.set()
        assert all(one.result() > 0 for one in asked)
        assert live.error is None
