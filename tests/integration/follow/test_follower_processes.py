"""Followers in processes of their own: in time, ended with grace, and one at a time."""

import json
import signal
import time

import numpy as np
import psutil
import pytest

from mmsearch.index import ForwardIndex

TITLES = {f"v{number}": f"title {number}" for number in range(30)}


@pytest.fixture
def index(lab, tmp_path):
    lab.publish_base(tmp_path / "index", TITLES)
    (tmp_path / "stream").mkdir()
    return tmp_path / "index"


@pytest.mark.slow
def test_changes_are_visible_in_time_and_sigterm_publishes_what_was_read(lab, index, append, tmp_path, real_follower):
    reader = ForwardIndex.open(index)
    process = real_follower(str(tmp_path / "stream"), "max_delay_s=6", "status_every_s=0.5")
    append(lab.upsert("v0", "warm"))
    lab.wait_until(lambda: ForwardIndex.open(index).base is not None)
    delays = []
    for number in range(2):
        append(lab.upsert(f"w{number}", f"new {number}"), lab.upsert(f"v{number}", f"new {number}"))
        delays.append(lab.wait_until(lambda n=number: ForwardIndex.open(index).rows([f"w{n}"])[0] >= 0))
    gone = []
    for doc_id in ("v9", "v8"):
        append(lab.delete(doc_id))
        gone.append(lab.wait_until(lambda one=doc_id: ForwardIndex.open(index).rows([one])[0] < 0))
    second = real_follower(str(tmp_path / "stream"))
    assert second.wait(60) == 3, "two would follow one stream"
    log = tmp_path / "follower.log"
    before = len(log.read_text())
    append(lab.upsert("last", "words"))
    lab.wait_until(lambda: '"waiting": 1' in log.read_text()[before:])
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    expected = {k: v for k, v in TITLES.items() if k not in ("v8", "v9")} | {"last": "words"}
    expected |= {f"{kind}{number}": f"new {number}" for kind in "vw" for number in range(2)}
    lab.check_served(index, expected, gone=["v8", "v9"])
    assert process.stdout.read().strip() == ForwardIndex.open(index).generation
    told = [json.loads(line) for line in log.read_text().splitlines() if '"lag_s"' in line]
    assert {"lag_s", "docs_per_s", "waiting", "visible", "generation"} <= set(told[-1])
    assert reader.rows(["v9"])[0] >= 0, "a reader keeps what it has open"
    assert min(delays) < 6, "one of two: a machine may stand still for a while"
    assert min(gone) < 3


@pytest.mark.slow
def test_a_video_that_hangs_holds_up_no_other(lab, index, append, tmp_path, real_follower):
    """One of two workers is stopped: what it has in hand hangs."""
    process = real_follower(str(tmp_path / "stream"), "max_delay_s=3", "num_workers=2")
    append(lab.upsert("v0", "warm"))
    lab.wait_until(lambda: ForwardIndex.open(index).base is not None)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    workers[0].suspend()
    new: list[str] = []

    def missing() -> int:
        return int((ForwardIndex.open(index).rows(new) < 0).sum())

    while not missing():  # until the stopped one has taken one
        more = [f"w{number}" for number in range(len(new), len(new) + 12)]
        new += more
        append(*(lab.upsert(doc_id, f"new {doc_id}") for doc_id in more))
        lab.wait_until(lambda: missing() <= 1)
        time.sleep(6)  # the last may only have waited for the next overlay
    stuck = new[int(np.argmin(ForwardIndex.open(index).rows(new)))]
    position = ForwardIndex.open(index).source["streams"][str(tmp_path / "stream")]["position"]
    assert position["line"] == 1 + new.index(stuck), "the position waits for it"
    workers[0].resume()
    lab.wait_until(lambda: not missing())
