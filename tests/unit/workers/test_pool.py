"""The pool: order, back-pressure, and one bad item costing exactly itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from mmsearch.errors import MmsearchError
from mmsearch.workers import Failure, Outcome, Pool

# Workers import what they call; a test file cannot be imported, so the functions stand in a module of their own.
TASKS = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path

def square(x):
    return x * x

def trouble(item):
    kind, value = item
    if kind == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "null":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
    if kind == "hang":
        time.sleep(60)
    if kind == "stuck":  # holds the interpreter: no Python thread or signal handler runs
        ctypes.PyDLL(None).sleep(60)
    if kind == "memory":
        return len(bytearray(2 << 30))
    if kind == "raise":
        raise ValueError("no such thing")
    if kind == "lambda":
        return lambda: None
    if kind == "once":
        if not Path(value).exists():
            Path(value).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "second"
    if kind == "print":
        print("noise on stdout")
    return value

def child_that_sleeps(path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(str(process.pid))
    time.sleep(60)

def slow_but_alive(beats):
    from mmsearch.workers import beat
    for _ in range(beats):
        time.sleep(0.2)
        beat()
    return beats

def slow_start(seconds):
    return SlowStart(seconds)

class SlowStart:
    def __init__(self, seconds):
        self.seconds = seconds
    def __setstate__(self, state):
        time.sleep(state["seconds"])
    def __call__(self, item):
        return item

class Fails:
    def __init__(self):
        self.calls = 0
    def __call__(self, item):
        self.calls += 1
        if item == "raise":
            raise ValueError("no such thing")
        return self.calls

class Counter:
    def __init__(self):
        self.calls = 0
    def __call__(self, _):
        self.calls += 1
        return os.getpid(), self.calls

class Unusable:
    def __setstate__(self, state):
        raise RuntimeError("the weights are gone")
    def __getstate__(self):
        return {"a": 1}
    def __call__(self, _):
        return None
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "pool_tasks.py").write_text(TASKS)
    sys.path.insert(0, str(folder))
    try:
        yield __import__("pool_tasks")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("pool_tasks")


@pytest.fixture
def children() -> Callable[[], list[int]]:
    """Processes started since the test began, and theirs: another module's browser may run for all tests."""
    me = psutil.Process()
    before = me.children()

    def found() -> list[int]:
        now = me.children(recursive=True)
        old = {process for child in before for process in (child, *child.children(recursive=True))}
        return [process.pid for process in now if process not in old]

    return found


def test_values_come_in_order_and_unordered_as_a_set(tasks, children):
    with Pool(tasks.square, num_workers=2) as pool:
        assert [o.value for o in pool.imap(range(50))] == [x * x for x in range(50)]
        assert {(o.index, o.value) for o in pool.imap(range(20), ordered=False)} == {(x, x * x) for x in range(20)}
        assert list(pool.imap([])) == []
    assert children() == []


def test_one_bad_item_costs_itself(tasks, children):
    bad = {3: "segv", 5: "null", 8: "exit", 11: "hang", 13: "memory", 16: "raise", 17: "lambda", 19: "stuck"}
    items = [(bad.get(i, "fine"), i) for i in range(24)]
    with Pool(tasks.trouble, num_workers=2, timeout_s=2, max_bytes=1 << 30) as pool:
        outcomes = list(pool.imap(items))
    assert [o.index for o in outcomes] == list(range(24))
    assert [o.value for o in outcomes if o.index not in bad] == [i for i in range(24) if i not in bad]
    failed = {o.index: (o.failure, o.detail) for o in outcomes if o.failure}
    assert failed[3] == failed[5] == (Failure.CRASHED, "it died of SIGSEGV")
    assert failed[8] == (Failure.CRASHED, "it exited with code 3")
    assert failed[11] == failed[19] == (Failure.TIMEOUT, "more than 2 s")
    assert failed[13] == (Failure.OUT_OF_MEMORY, "more than 1,024 MiB")
    assert failed[16] == (Failure.RAISED, "ValueError: no such thing")
    assert failed[17][0] is Failure.RAISED
    assert set(failed) == set(bad)
    assert children() == []


def test_an_item_is_tried_again_in_a_fresh_worker(tasks, tmp_path):
    with Pool(tasks.trouble, num_workers=1) as pool:
        assert [o.value for o in pool.imap([("once", str(tmp_path / "a")), ("fine", 1)])] == ["second", 1]
    with Pool(tasks.trouble, num_workers=1, attempts=1) as pool:
        assert [o.failure for o in pool.imap([("once", str(tmp_path / "b")), ("fine", 1)])] == [Failure.CRASHED, None]


def test_a_worker_killed_while_idle_is_replaced(tasks, children):
    with Pool(tasks.square, num_workers=2) as pool:
        list(pool.imap(range(10)))
        for pid in children():
            os.kill(pid, 9)
        assert [o.value for o in pool.imap(range(10))] == [x * x for x in range(10)]


def test_items_are_read_no_faster_than_outcomes_are_taken(tasks):
    read = []

    def items():
        for i in range(100):
            read.append(i)
            yield i

    with Pool(tasks.square, num_workers=2) as pool:
        outcomes = pool.imap(items(), window=4)
        for taken in range(1, 30):
            next(outcomes)
            assert len(read) <= taken + 4
        outcomes.close()
        assert [o.value for o in pool.imap(range(3))] == [0, 1, 4]


def test_an_object_keeps_its_state_in_the_worker(tasks):
    with Pool(tasks.Counter(), num_workers=1) as pool:
        values = [o.value for o in pool.imap(range(5))]
    assert [calls for _, calls in values] == [1, 2, 3, 4, 5]
    assert {pid for pid, _ in values}.isdisjoint({os.getpid()})


def test_the_time_limit_counts_from_the_last_beat(tasks):
    with Pool(tasks.slow_but_alive, num_workers=1, timeout_s=1.2) as pool:
        assert [o.value for o in pool.imap([8, 0])] == [8, 0]
    tasks.slow_but_alive(1)  # outside of a worker a beat does nothing


def test_a_worker_may_be_ended_by_an_exception(tasks, children):
    items = ["fine", "raise", "fine", "fine"]
    for fresh, calls in ((False, [1, None, 3, 4]), (True, [1, None, 1, 2])):
        with Pool(tasks.Fails(), num_workers=1, fresh_after_raise=fresh) as pool:
            outcomes = list(pool.imap(items))
        assert [o.value for o in outcomes] == calls
        assert outcomes[1].detail == "ValueError: no such thing"
    assert children() == []


def test_the_time_to_start_is_limited(tasks, children):
    with Pool(tasks.slow_start(30), num_workers=1, start_s=0.3) as pool, pytest.raises(MmsearchError, match="start"):
        list(pool.imap([1]))
    assert children() == []


def test_workers_that_cannot_start_raise(tasks, children):
    with Pool(tasks.Unusable(), num_workers=2) as pool, pytest.raises(MmsearchError, match="the weights are gone"):
        list(pool.imap(range(3)))
    with Pool(tasks.square, num_workers=1, max_bytes=1 << 20) as pool, pytest.raises(MmsearchError, match="start"):
        list(pool.imap(range(3)))
    assert children() == []
    with pytest.raises(ValueError, match="at least 1"):
        Pool(tasks.square, num_workers=0)


def test_leaving_early_ends_busy_workers_and_what_they_started(tasks, tmp_path):
    with Pool(tasks.child_that_sleeps, num_workers=1, timeout_s=3, attempts=1) as pool:
        outcomes = list(pool.imap([str(tmp_path / "pid")]))
    assert outcomes == [Outcome(0, None, Failure.TIMEOUT, "more than 3 s")]
    grandchild = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_worker_prints_stays_out_of_stdout(tasks, capfd):
    with Pool(tasks.trouble, num_workers=1) as pool:
        assert [o.value for o in pool.imap([("print", 7)])] == [7]
    assert "noise" not in capfd.readouterr().out


def test_a_failing_source_of_items_ends_the_iteration_and_leaves_the_pool_usable(tasks):
    def items():
        yield from range(3)
        raise OSError("the table is gone")

    with Pool(tasks.square, num_workers=2) as pool:
        with pytest.raises(OSError, match="the table is gone"):
            list(pool.imap(items()))
        assert [o.value for o in pool.imap(range(3))] == [0, 1, 4]


def test_workers_die_with_a_killed_parent(tmp_path):
    (tmp_path / "sleepers.py").write_text("import time\ndef sleep(_):\n    time.sleep(60)\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import sleepers; from mmsearch.workers import Pool\n"
        "list(Pool(sleepers.sleep, num_workers=2).imap(range(4)))\n"
    )
    parent = psutil.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(workers := parent.children()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
