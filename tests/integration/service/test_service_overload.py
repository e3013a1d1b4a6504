"""More load than a service can bear, for a minute: it refuses, and neither breaks nor grows."""

import re
import threading
import time
from collections import Counter
from contextlib import closing

import psutil
import pytest

pytestmark = pytest.mark.nightly
SECONDS, CLIENTS = 60, 24


def test_a_minute_of_overload_is_answered_with_200_and_429_alone(start, index):
    service = start("queue_size=2", "max_batch=2", "deadline_ms=200", "access_log=false", "drain_s=0")
    service.wait()
    doc_ids = [f"d{number % 24:02d}" for number in range(5000)]
    statuses, stop, lock = Counter(), threading.Event(), threading.Lock()

    def ask():
        with closing(service.connect()) as connection:
            while not stop.is_set():
                status, headers, _ = service.ask("POST", "/v1/score", {"query": "red", "doc_ids": doc_ids}, connection)
                with lock:
                    statuses[status] += 1
                    statuses["without advice"] += status == 429 and headers["retry-after"] != "1"

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    process = psutil.Process(service.process.pid)
    time.sleep(SECONDS / 4)
    before = process.memory_info().rss, process.num_fds()
    time.sleep(SECONDS * 3 / 4)
    after = process.memory_info().rss, process.num_fds()
    stop.set()
    for thread in threads:
        thread.join()
    print(dict(statuses), [before, after])
    assert statuses.pop("without advice") == 0
    assert set(statuses) == {200, 429}
    assert after[0] < before[0] * 1.05 + 5e6
    assert abs(after[1] - before[1]) <= 4
    (count,) = re.findall(r'requests_total\{method="POST",route="/v1/score",status="429"\} (\S+)', metrics(service))
    assert float(count) == statuses[429]
    assert service.end() == 0


def metrics(service):
    return service.ask("GET", "/metrics")[2]
