"""Finding the bad videos of an item: on simulated workers that fail as told, and that are killed at random."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import MmsearchError
from serving.executors.isolate import Failed, Isolation, Task
from serving.work_item import Done, Reason, WorkItem

REASONS = [Reason.CRASH, Reason.TIMEOUT, Reason.MEMORY, Reason.RAISED]


class Simulation:
    """Runs tasks one by one; bad rows fail for their reason, and every task may be killed, some times in all."""

    def __init__(self, bad: dict[int, Reason], kills: int = 0, seed: int = 0) -> None:
        self.bad, self.kills, self.chance = bad, kills, random.Random(seed)
        self.tasks: list[Task] = []
        self.left_out: dict[str, dict[int, Reason]] = {}

    def run(self, items: list[WorkItem]) -> list[str]:
        done: list[str] = []
        isolation = Isolation(items)
        while True:
            for task in isolation.tasks():
                self.tasks.append(task)
                failure = self.outcome(task)
                if failure is not None:
                    isolation.failed(task, failure)
                else:
                    finished = isolation.succeeded(task, Done(task.item.key, 0) if task.places is None else None)
                    done += [finished.key] if finished else []
            if not isolation.has_more:
                return done

    def outcome(self, task: Task) -> Failed | None:
        if self.kills and self.chance.random() < 0.3:
            self.kills -= 1
            return Failed(Reason.CRASH, "it died of SIGKILL")
        out = {place for place, _, _ in task.left_out}
        places = task.places if task.places is not None else [p for p in range(len(task.item.rows)) if p not in out]
        for place in places:
            reason = self.bad.get(task.item.rows[place])
            if reason is not None:
                return Failed(reason, f"row {task.item.rows[place]}")
        if task.places is None:
            self.left_out[task.item.key] = {task.item.rows[place]: reason for place, reason, _ in task.left_out}
        return None


def cut(count: int, size: int) -> list[WorkItem]:
    return [WorkItem(f"k{at}", tuple(range(at, min(at + size, count)))) for at in range(0, count, size)]


@settings(deadline=None)
@given(
    count=st.integers(1, 60),
    size=st.integers(1, 33),
    bad=st.dictionaries(st.integers(0, 59), st.sampled_from(REASONS), max_size=8),
)
def test_just_the_bad_videos_are_left_out_with_their_reasons(count, size, bad):
    simulation = Simulation(bad)
    items = cut(count, size)
    assert sorted(simulation.run(items)) == sorted(item.key for item in items)
    for item in items:
        assert simulation.left_out[item.key] == {row: bad[row] for row in item.rows if row in bad}


@settings(deadline=None)
@given(bad=st.sets(st.integers(0, 29), max_size=3), kills=st.integers(0, 4), seed=st.integers(0, 99))
def test_kills_change_nothing_of_what_is_found(bad, kills, seed):
    simulation = Simulation(dict.fromkeys(bad, Reason.TIMEOUT), kills, seed)
    items = cut(30, 10)
    assert sorted(simulation.run(items)) == sorted(item.key for item in items)
    found = {row for rows in simulation.left_out.values() for row in rows}
    assert found >= bad
    assert len(found - bad) <= kills // 2, "a good video is only condemned when it is killed twice while it is alone"


def test_it_costs_a_few_times_the_item():
    simulation = Simulation({700: Reason.CRASH})
    simulation.run(cut(1024, 1024))
    tried = sum(len(task.places) if task.places is not None else 1024 for task in simulation.tasks)
    assert len(simulation.tasks) == 2 + 2 * 10 + 1 + 1, "twice; halves, ten times; the last once more; the rest as one"
    assert tried <= 5 * 1024


def test_an_exception_is_not_tried_again():
    simulation = Simulation({0: Reason.RAISED})
    simulation.run(cut(2, 2))
    assert [task.places for task in simulation.tasks] == [None, (0,), (1,), None]


def test_items_go_on_while_one_is_under_suspicion_and_are_read_one_by_one():
    read: list[int] = []

    def items():
        for item in cut(12, 4):
            read.append(item.rows[0])
            yield item

    isolation = Isolation(items())
    tasks = isolation.tasks()
    first, second = next(tasks), next(tasks)
    assert read == [0, 4]
    isolation.failed(first, Failed(Reason.CRASH, ""))
    assert next(tasks) is first, "tried again before new items"
    isolation.succeeded(second, Done("k4", 4))
    assert next(tasks).item.key == "k8"


def test_it_gives_up_when_every_video_fails():
    simulation = Simulation(dict.fromkeys(range(1000), Reason.CRASH))
    with pytest.raises(MmsearchError, match=r"each of 16 videos fails alone .crash: row 15.*the model or this machine"):
        simulation.run(cut(1000, 500))
    assert len(simulation.tasks) < 100
    everything = Simulation(dict.fromkeys(range(20), Reason.CRASH))
    everything.run(cut(20, 10))
    assert len([row for rows in everything.left_out.values() for row in rows]) == 20, "few enough to be so"


def test_it_gives_up_when_videos_fail_together_and_not_alone():
    class Together(Simulation):
        def outcome(self, task: Task) -> Failed | None:
            return Failed(Reason.MEMORY, "more than 1 MiB") if task.places is None else None

    with pytest.raises(MmsearchError, match=r"8 videos fail together .memory: more than 1 MiB.*lower batch_size"):
        Together({}).run(cut(8, 8))
