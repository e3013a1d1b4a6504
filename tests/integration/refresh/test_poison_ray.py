"""The same on a real Ray cluster of this machine: same bytes, poison isolated, a killed actor costs its item."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serving.work import ShardStore

HERE = Path(__file__).parent
POISON = {"v9": "crash", "v21": "raised", "v30": "not_finite"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
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
    environment |= (
        LOOPBACK if "address" in settings else {}
    )  # else Ray takes 127.0.0.1 for this machine's other address
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@contextlib.contextmanager
def ended(started):
    """Whatever happens, the driver is gone after the block, and with it its cluster."""
    try:
        yield started
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


@pytest.fixture
def head(tmp_path):
    """A cluster of three CPUs that is there already; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=3", "--include-dashboard=false"]
    quiet = LOOPBACK | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    environment = os.environ | quiet | {"PYTHONPATH": str(HERE)}  # the encoder alone: our code is sent
    with (tmp_path / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        until = time.monotonic() + 60
        while "ray stop" not in (tmp_path / "head.log").read_text():
            assert time.monotonic() < until, (tmp_path / "head.log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
        assert process.poll() is None, "a cluster that was there before stays"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.nightly
def test_a_cluster_that_is_there_is_used_and_stays(poison, new_corpus, tmp_path, head):
    new_corpus([f"title {i}" for i in range(40)])
    chosen = {"address": head, "cpus_per_actor": 1.0, "num_videos": 40}
    started = start(tmp_path, {"v9": "raised"}, num_actors=[1, 2], **chosen)
    with ended(started):
        out, err = started.communicate(timeout=200)
    assert out.split() == sorted(item.key for item in poison.cut(40, 4)), err
    refused = start(tmp_path, {}, num_actors=3, **chosen)
    begun = time.monotonic()
    with ended(refused):
        _, err = refused.communicate(timeout=120)
    assert refused.returncode != 0
    assert "3 actors of 1 CPUs would take all 3 CPUs" in err, err
    assert time.monotonic() - begun < 100
