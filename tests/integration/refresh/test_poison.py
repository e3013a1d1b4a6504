"""Videos that break the tower, and workers and drivers that are killed: each costs itself, and no other byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from mmsearch.errors import IntegrityError, MmsearchError
from serving.executors import LocalSettings
from serving.work import ShardStore
from serving.work_item import Quarantined, Reason

HERE = Path(__file__).parent
POISON = {"v3": "timeout", "v42": "crash", "v77": "memory", "v110": "raised", "v171": "not_finite"}
LIMITS = {"timeout_s": 2.0, "max_memory_bytes": 1 << 30, "threads": 1}


@pytest.fixture
def poison(monkeypatch):
    monkeypatch.syspath_prepend(HERE)  # worker processes are given the path
    import refresh_poison

    yield refresh_poison
    del sys.modules["refresh_poison"]


@pytest.fixture
def new_folder(tmp_path, new_corpus):
    """A folder with a corpus of so many videos."""

    def make(num_videos: int) -> Path:
        new_corpus([f"title {i}" for i in range(num_videos)])
        return tmp_path

    return make


def results(poison, folder: Path, items) -> dict[str, object]:
    """What lies in the work folder: ids, the bytes of vectors, who is in quarantine and why."""
    store = ShardStore(folder / "work", poison.Encoder.spaces, "float16")
    found = {}
    for item in items:
        shard = store.load(item.key)
        assert shard is not None
        arrays = [array.tobytes() for e in shard.embedded.values() for array in (e.vectors, e.present)]
        found[item.key] = (shard.doc_ids, arrays, {video.doc_id: video.reason.value for video in shard.quarantined})
    return found


def expected(poison, folder: Path, items, bad: dict[str, str]) -> dict[str, object]:
    """The naive way: a corpus that never had the bad videos, one item after another, in this process."""
    job = poison.new_job(folder, {doc: kind for doc, kind in bad.items() if kind == "not_finite"})
    left_out = {int(doc[1:]): (kind, "") for doc, kind in bad.items() if kind != "not_finite"}
    for item in items:
        job.embed(item, {place: left_out[row] for place, row in enumerate(item.rows) if row in left_out})
    found = results(poison, folder, items)
    for item in items:
        (folder / "work" / f"{item.key}.npz").unlink()
    (folder / "log").unlink()
    return found


@pytest.mark.slow
def test_poison_costs_itself_whatever_is_killed(poison, new_folder):
    check_kills(poison, new_folder(200), POISON, num_videos=200, size=4, kills=3, every_s=(0.5, 2.0))


@pytest.mark.nightly
def test_poison_costs_itself_among_10_000_videos_and_20_kills(poison, new_folder):
    check_kills(poison, new_folder(10_000), POISON, num_videos=10_000, size=100, kills=20, every_s=(2.0, 8.0))


def check_kills(poison, folder, bad, *, num_videos, size, kills, every_s, seed=7):
    items = poison.cut(num_videos, size)
    whole = expected(poison, folder, items, bad)
    settings = {"num_workers": 2, **LIMITS, "num_videos": num_videos, "size": size, "pause_s": 0.01}
    killed = Killer(folder, settings, bad, random.Random(seed), every_s).run(kills)
    assert results(poison, folder, items) == whole
    assert {doc: kind for _, _, out in whole.values() for doc, kind in out.items()} == bad
    rows = {row for item in items for row in item.rows if not any(f"v{r}" in bad for r in item.rows)}
    embedded = Counter((folder / "log").read_text().split())
    again = sum(embedded[f"v{row}"] - 1 for row in rows)
    assert min(embedded[f"v{row}"] for row in rows) == 1
    assert again <= (killed["worker"] + 2 * killed["driver"]) * size, "a kill costs the items that were under way"


class Killer:
    """Runs the driver, and kills it or one of its workers at random moments."""

    def __init__(self, folder, settings, poison, chance, every_s):
        code = "import sys; from refresh_poison import main; main(*sys.argv[1:])"
        self.command = [sys.executable, "-c", code, str(folder), json.dumps(settings), json.dumps(poison)]
        self.chance, self.every_s = chance, every_s
        self.killed: Counter[str] = Counter()

    def run(self, kills: int) -> Counter[str]:
        driver = self.start()
        while sum(self.killed.values()) < kills and driver.poll() is None:
            with_end = time.monotonic() + self.chance.uniform(*self.every_s)
            while time.monotonic() < with_end and driver.poll() is None:
                time.sleep(0.01)
            workers = psutil.Process(driver.pid).children() if driver.poll() is None else []
            if workers and self.chance.random() < 0.6:
                self.chance.choice(workers).kill()
                self.killed["worker"] += 1
            elif driver.poll() is None:
                os.kill(driver.pid, signal.SIGKILL)
                driver.wait()
                self.killed["driver"] += 1
                driver = self.start()
        assert driver.wait(900) == 0
        return self.killed

    def start(self):
        return subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
        )


def test_a_video_alone_in_its_item_may_be_poison(poison, new_folder):
    folder = new_folder(1)
    items, job = poison.cut(1, 1), poison.new_job(folder, {"v0": "crash"})
    (done,) = LocalSettings(num_workers=1, **LIMITS).build().run(items, job)
    assert (done.key, done.num_videos) == ("k0", 1)
    assert done.quarantined == (Quarantined("v0", Reason.CRASH, "it died of SIGSEGV"),)
    assert poison.new_job(folder, {}).embed(items[0]) == done, "what is there is not made again"


def test_a_damaged_corpus_is_no_fault_of_a_video(poison, new_folder):
    folder = new_folder(16)
    path = next((folder / "corpus" / "shards").glob("*.parquet"))
    data = bytearray(path.read_bytes())
    for at in range(4, len(data) // 2):
        data[at] ^= 0xFF
    path.write_bytes(data)
    for num_workers in (0, 1):
        executor = LocalSettings(num_workers=num_workers, **LIMITS).build()
        with pytest.raises(IntegrityError, match=r"\.parquet"):
            list(executor.run(poison.cut(16, 8), poison.new_job(folder, {})))


def test_a_tower_that_cannot_be_loaded_ends_the_run(poison, new_folder):
    job = poison.new_job(new_folder(4) / "nowhere", {})
    with pytest.raises(MmsearchError, match=r"a worker process cannot start: DataError: .*no such file"):
        list(LocalSettings(num_workers=1, **LIMITS).build().run(poison.cut(4, 4), job))
