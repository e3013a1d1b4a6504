"""The same on a real Ray cluster of this machine: same bytes, poison isolated, a killed actor costs its item."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serving.work import ShardStore

HERE = Path(__file__).parent
POISON = {"v9": "crash", "v21": "raised", "v30": "not_finite"}
CODE = "import sys; from refresh_poison import main; main(*sys.argv[1:])"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture
def poison(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import refresh_poison

    yield refresh_poison
    del sys.modules["refresh_poison"]


def start(folder, bad, **settings):
    chosen = {"type": "ray", "timeout_s": 30.0, "threads": 1, "size": 4, "pause_s": 0.02} | settings
    command = [sys.executable, "-c", CODE, str(folder), json.dumps(chosen), json.dumps(bad)]
    environment = os.environ | {"PYTHONPATH": ":".join([str(HERE), *sys.path])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@contextlib.contextmanager
def ended(started):
    """Whatever happens, the driver is gone after the block, and with it its cluster."""
    try:
        yield
    finally:
        started.kill()
        started.wait()


def actors(processes):
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if "EmbeddingActor" in " ".join(process.cmdline()) else []
    return found


def not_loopback(processes):
    """What these processes listen on that others can reach."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                ip = connection.laddr.ip.removeprefix("::ffff:") if connection.laddr else ""
                if connection.status == psutil.CONN_LISTEN and not (ip.startswith("127.") or ip == "::1"):
                    found.append((process.name(), connection.laddr))
    return found


def test_same_bytes_as_in_this_process_with_poison_and_a_killed_actor(poison, new_corpus, tmp_path):
    num_videos = 48
    new_corpus([f"title {i}" for i in range(num_videos)])
    items = poison.cut(num_videos, 4)
    store = ShardStore(tmp_path / "work", poison.Encoder.spaces, "float16")
    job = poison.new_job(tmp_path, {"v30": "not_finite"})
    for item in items:
        job.embed(item, {place: ("crash", "") for place, row in enumerate(item.rows) if row in (9, 21)})
    expected = {item.key: whole(store, item.key) for item in items}
    for path in (tmp_path / "work").iterdir():
        path.unlink()
    (tmp_path / "log").unlink()

    started = start(tmp_path, POISON, num_actors=1, cpus_per_actor=0.5, num_videos=num_videos)
    with ended(started):
        while not list((tmp_path / "work").glob("k*.npz")):  # an item is done: the cluster is up
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.05)
        seen = psutil.Process(started.pid).children(recursive=True)
        assert not_loopback(seen) == []
        actors(seen)[0].kill()
        out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    assert out.split() == sorted(item.key for item in items), "each item once, and nothing of Ray in stdout"
    assert {item.key: whole(store, item.key) for item in items} == expected
    quarantined = [video for item in items for video in store.load(item.key).quarantined]
    assert {video.doc_id: video.reason.value for video in quarantined} == POISON
    asked = (tmp_path / "log").read_text().split()
    good = [f"v{row}" for item in items for row in item.rows if not {f"v{r}" for r in item.rows} & set(POISON)]
    assert sum(asked.count(doc) - 1 for doc in good) <= 4, "the killed actor cost one item"
    _, alive = psutil.wait_procs(seen, timeout=20)
    assert [process.name() for process in alive] == [], "the cluster was ended"


def whole(store, key):
    shard = store.load(key)
    assert shard is not None
    return shard.doc_ids, [a.tobytes() for e in shard.embedded.values() for a in (e.vectors, e.present)]


@pytest.mark.nightly
def test_actors_that_need_every_cpu_do_not_hang_but_are_refused(poison, new_corpus, tmp_path):
    new_corpus([f"title {i}" for i in range(8)])
    started = start(tmp_path, {}, num_actors=len(os.sched_getaffinity(0)), num_videos=8)
    begun = time.monotonic()
    with ended(started):
        _, err = started.communicate(timeout=120)
    assert started.returncode != 0
    assert "would take all" in err, err
    assert time.monotonic() - begun < 100
