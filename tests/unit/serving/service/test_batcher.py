"""The queue before the scorer: what is scored together, what is refused, what a deadline does."""

import asyncio
import threading
import time

import pytest

from mmsearch.errors import DeadlineError
from mmsearch.scoring import FeatureScorer
from serving.service.batcher import Batcher
from serving.service.lane import Lane
from serving.service.problems import ProblemError

REQUESTS = [("red ball", ["d01", "nobody"]), ("blue fish", ["d02"]), ("  ", ["d03"]), ("red ball", [])]


class Held:
    """A real scorer that waits for a gate before each call, and notes how it was called."""

    def __init__(self, scorer):
        self.scorer, self.gate, self.calls = scorer, threading.Event(), []

    def _note(self, what):
        self.calls.append(what)
        assert self.gate.wait(10)

    def score(self, query, doc_ids, *, deadline_s=None):
        self._note(1)
        if query == "poison":
            raise ValueError("poison")
        return self.scorer.score(query, doc_ids, deadline_s=deadline_s)

    def score_batch(self, requests, *, deadline_s=None):
        self._note(len(requests))
        if any(query == "poison" for query, _ in requests):
            raise ValueError("poison")
        return self.scorer.score_batch(requests, deadline_s=deadline_s)


@pytest.fixture
def held(service_index):
    return Held(FeatureScorer.open(service_index))


@pytest.fixture
def batcher(held):
    made = Batcher(lambda: held, queue_size=6, max_batch=4)
    yield made
    held.gate.set()
    made.close()


def same(a, b):
    return a.doc_ids == b.doc_ids and (a.values == b.values).all() and (a.missing == b.missing).all()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def in_time():
    return time.monotonic() + 30


async def wait_behind_one(batcher, held, asked):
    """Ask once, and the rest while that is scored; give the tasks."""
    first = asyncio.ensure_future(batcher.score("first", ["d00"], deadline=in_time()))
    await until(lambda: held.calls)
    tasks = [asyncio.ensure_future(batcher.score(*one, **how)) for *one, how in asked]
    await asyncio.sleep(0)
    return [first, *tasks]


def test_requests_that_wait_are_scored_together_with_the_scores_of_each_alone(batcher, held):
    async def ask():
        tasks = await wait_behind_one(batcher, held, [(*one, {"deadline": in_time()}) for one in REQUESTS])
        assert batcher.waiting == 5
        held.gate.set()
        return await asyncio.gather(*tasks)

    _, *found = asyncio.run(ask())
    assert held.calls == [1, 4]
    for (query, doc_ids), features in zip(REQUESTS, found, strict=True):
        assert same(features, held.scorer.score(query, doc_ids))
    assert batcher.waiting == 0


def test_a_batch_is_no_larger_than_it_may_be_and_who_brings_a_deadline_goes_alone(batcher, held):
    how = {"deadline": in_time()}
    asked = [("a", ["d01"], how), ("b", ["d01"], how | {"alone": True}), ("c", ["d01"], how), ("d", ["d01"], how)]

    async def ask():
        tasks = await wait_behind_one(batcher, held, asked)
        held.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert held.calls == [1, 1, 1, 2]


def test_a_full_queue_refuses_at_once_and_the_others_are_answered(batcher, held):
    async def ask():
        tasks = await wait_behind_one(batcher, held, [("a", ["d01"], {"deadline": in_time()})] * 5)
        with pytest.raises(ProblemError) as refused:
            await batcher.score("b", ["d01"], deadline=in_time())
        held.gate.set()
        await asyncio.gather(*tasks)
        return refused.value

    refused = asyncio.run(ask())
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "overloaded", "1")


def test_a_request_whose_deadline_passed_in_the_queue_is_not_scored(batcher, held):
    async def ask():
        soon = {"deadline": time.monotonic() + 0.05}
        tasks = await wait_behind_one(batcher, held, [("a", ["d01"], soon), ("b", ["d02"], {"deadline": in_time()})])
        await asyncio.sleep(0.1)
        held.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, late, answered = asyncio.run(ask())
    assert isinstance(late, ProblemError)
    assert (late.status, late.code) == (429, "deadline")
    assert answered.doc_ids == ("d02",)
    assert held.calls == [1, 1]


def test_a_request_that_breaks_a_batch_breaks_alone(batcher, held):
    async def ask():
        how = {"deadline": in_time()}
        asked = [("a", ["d01"], how), ("poison", ["d01"], how), ("b", ["d02"], how)]
        tasks = await wait_behind_one(batcher, held, asked)
        held.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, first, broken, last = asyncio.run(ask())
    assert isinstance(broken, ValueError)
    assert same(first, held.scorer.score("a", ["d01"]))
    assert same(last, held.scorer.score("b", ["d02"]))


def test_a_deadline_of_one_costs_the_others_of_its_batch_nothing(service_index, monkeypatch):
    held, sizes = Held(FeatureScorer.open(service_index)), []
    score_batch = held.score_batch

    def slow(requests, *, deadline_s):
        time.sleep(deadline_s)  # the batch takes all the time that its nearest deadline leaves
        return score_batch(requests, deadline_s=0.0)

    monkeypatch.setattr(held, "score_batch", slow)
    batcher = Batcher(lambda: held, queue_size=6, max_batch=4, seen=sizes.append)

    async def ask():
        soon = {"deadline": time.monotonic() + 0.2}
        asked = [("a", ["d01"], {"deadline": in_time()}), ("b", ["d02"], soon), ("c", ["d03"], {"deadline": in_time()})]
        tasks = await wait_behind_one(batcher, held, asked)
        held.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, first, late, last = asyncio.run(ask())
    batcher.close()
    assert isinstance(late, ProblemError)
    assert late.code == "deadline"
    assert same(first, held.scorer.score("a", ["d01"]))
    assert same(last, held.scorer.score("c", ["d03"]))
    assert not last.late
    assert (sizes, held.calls) == ([1, 3], [1, 3, 1, 1])


def test_a_first_request_may_wait_for_others(held):
    held.gate.set()
    batcher = Batcher(lambda: held, queue_size=9, max_batch=3, wait_s=5.0)

    async def ask():
        await asyncio.gather(*(batcher.score("a", ["d01"], deadline=in_time()) for _ in range(3)))

    asyncio.run(ask())
    batcher.close()
    assert held.calls == [3]


def test_closing_answers_what_waits(held):
    batcher = Batcher(lambda: held, queue_size=9, max_batch=1)

    async def ask():
        tasks = [asyncio.ensure_future(batcher.score("a", ["d01"], deadline=in_time())) for _ in range(3)]
        await until(lambda: held.calls)
        closing = asyncio.get_running_loop().run_in_executor(None, batcher.close)
        held.gate.set()
        await asyncio.gather(*tasks, closing)

    asyncio.run(ask())
    assert held.calls == [1, 1, 1]


def test_a_lane_is_bounded_and_begins_nothing_too_late():
    lane, gate = Lane("tests", num_threads=1, queue_size=2), threading.Event()

    async def ask():
        first = asyncio.ensure_future(lane.run(lambda: gate.wait(10), deadline=in_time()))
        second = asyncio.ensure_future(lane.run(lambda: "done", deadline=time.monotonic() + 0.05))
        await asyncio.sleep(0.1)
        with pytest.raises(ProblemError) as refused:
            await lane.run(lambda: "done", deadline=in_time())
        gate.set()
        return refused.value.code, await asyncio.gather(first, second, return_exceptions=True)

    code, (first, second) = asyncio.run(ask())
    lane.close()
    assert (code, first) == ("overloaded", True)
    assert isinstance(second, ProblemError)
    assert isinstance(second.__cause__, DeadlineError)
    assert lane.waiting == 0
