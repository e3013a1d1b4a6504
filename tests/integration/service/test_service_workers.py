"""Several workers: one address, one index, one set of counts; one that dies is replaced."""

import os
import re
import signal
import threading
import time
from contextlib import closing

import psutil
import pytest

pytestmark = pytest.mark.slow
OK = {"query": "red ball", "doc_ids": ["d01", "nobody"]}


def listens(process):
    try:
        return any(c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp"))
    except psutil.NoSuchProcess:  # it ended meanwhile
        return False


def workers_of(service):
    """Give the processes that listen."""
    return [p for p in psutil.Process(service.process.pid).children(recursive=True) if listens(p)]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def scored(service):
    text = service.ask("GET", "/metrics")[2]
    (count,) = re.findall(r'requests_total\{method="POST",route="/v1/score",status="200"\} (\S+)', text)
    return float(count)


def test_workers_share_an_address_and_their_counts_and_are_replaced(start):
    service = start("num_workers=2", "drain_s=0.2")
    service.wait(workers=2)
    workers = workers_of(service)
    assert len(workers) == 2
    assert [service.ask("POST", "/v1/score", OK)[0] for _ in range(40)] == [200] * 40
    assert scored(service) == 40
    killed = workers[0]
    killed.kill()
    others = until(lambda: len(now := workers_of(service)) == 2 and killed not in now and now)
    assert workers[1] in others
    assert [service.ask("POST", "/v1/score", OK)[0] for _ in range(20)] == [200] * 20
    assert scored(service) == 60  # those of the dead one as well
    assert service.lines(f"worker {killed.pid} ended with status -9")
    assert service.end() == 0
    assert len(service.lines("ended")) == 2
    assert not any(p.is_running() for p in others)


def test_workers_end_when_their_supervisor_is_killed(start):
    service = start("num_workers=2", "drain_s=0")
    service.wait(workers=2)
    workers = workers_of(service)
    service.process.kill()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers))
    assert len(service.lines("ended")) == 2


def test_a_swap_under_load_fails_no_request_and_mixes_nothing(start, index):
    first, second = index.folder.joinpath("CURRENT").read_text().strip(), index.publish(1)
    service = start("num_workers=2", "drain_s=0.2")
    service.wait(workers=2)
    seen, wrong, stop = {}, [], threading.Event()

    def ask():
        with closing(service.connect()) as connection:
            while not stop.is_set():
                status, _, told = service.ask("POST", "/v1/score", OK, connection)
                values = told.get("docs")
                if status != 200 or seen.setdefault(told["generation"], values) != values:
                    wrong.append(told)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(10):
        beside = index.folder / "beside"
        beside.write_text(f"{(first, second)[swap % 2]}\n")
        os.replace(beside, index.folder / "CURRENT")
        time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(seen) == {first, second}
    assert seen[first] != seen[second]
    assert service.end(signal.SIGINT) == 0
