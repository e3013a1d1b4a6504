"""`mmsearch prepare`, killed by SIGKILL at random moments and started again, comes to the bytes of a quiet run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

NUM_VIDEOS = 72


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(1)
    rows = []
    for n in range(NUM_VIDEOS):
        name = f"{n % 12}.mp4"
        if n < 12:
            write_film(folder / name, rng)
        rows.append({"doc_id": f"v{n}", "title": f"film {n}", "video": name if n % 17 else "absent.mp4"})
    (folder / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "videos.jsonl"


def write_film(path: Path, rng: np.random.Generator) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(40):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def start(table: Path, out: Path) -> subprocess.Popen[str]:
    settings = ["num_frames=4", "image_size=64", "shard_size=6", "row_group_size=4", "num_workers=2"]
    door = "from mmsearch.cli.main import main; main()"
    command = [sys.executable, "-c", door, "prepare", str(table), "--out", str(out), *settings]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def done(out: Path) -> list[Path]:
    return list((out / "shards").glob("*.json"))


def kill(process: subprocess.Popen[str]) -> None:
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert all(worker.status() == psutil.STATUS_ZOMBIE for worker in alive)


@pytest.fixture(scope="module")
def expected(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a quiet run."""
    out = tmp_path_factory.mktemp("quiet") / "out"
    quiet = start(table, out)
    output, errors = quiet.communicate(timeout=120)
    assert quiet.returncode == 5, errors
    assert "videos\t67" in output
    assert "missing_file 5" in errors
    return files(out)


def test_a_killed_worker_costs_nothing(table: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    process = start(table, tmp_path / "out")
    while len(done(tmp_path / "out")) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    victim = random.Random(5).choice(psutil.Process(process.pid).children())
    victim.kill()
    process.communicate(timeout=120)
    assert files(tmp_path / "out") == expected


@pytest.mark.slow
def test_kill_and_start_again(table: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    rng = random.Random(2)
    out = tmp_path / "killed"
    kills = 0
    for more in (0, 1, 0, 2, 3):  # how many shards a run may finish before a random moment
        process = start(table, out)
        wanted = len(done(out)) + more
        while len(done(out)) < wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.6 if more == 0 else 0.1))
        if process.poll() is None:
            kills += 1
            kill(process)
        process.communicate()
    final = start(table, out)
    final.communicate(timeout=120)
    assert final.returncode == 5
    assert kills >= 3
    assert files(out) == expected
