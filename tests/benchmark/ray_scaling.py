"""How much faster two Ray actors embed than one, and what Ray costs beside processes of our own.

    python tests/benchmark/ray_scaling.py [--items 24] [--turns 2]

A corpus of titles is embedded by towers that only take time, with the executor as a refresh runs it: work items, a
supervised process in each actor, results committed to the disk. Two towers:

- `device`: its step sleeps, as a processor sees a GPU compute. What is measured is what scheduling costs;
- `cpu`: its step computes on one core. It needs as many idle cores as there are actors.

Each is run by one actor and by two, and by one and two local processes, in turns. The rate is that of the items that
end after every worker has ended one: start-up does not count. Ratios are of a turn; the median is given.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

import numpy as np
from rich.console import Console
from rich.table import Table

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.embed import EmbedJob
from serving.executors import LocalSettings, RaySettings
from serving.work_item import WorkItem

TARGET = 1.7
BATCH, ITEM = 16, 32
STEP_S = 0.15
PRODUCT = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)


class Encoder:
    """A tower that takes time."""

    spaces = (Space("content", 8, "f"),)

    def __init__(self, kind: str, log: str) -> None:
        self.kind, self.log = kind, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.end = 0.0

    def encode(self, videos: Any) -> dict[str, Embedded]:
        """Take the time of a step, and note which process took it and when it ended."""
        if self.kind == "device":
            time.sleep(STEP_S)
        else:
            begun = time.process_time()
            while time.process_time() - begun < STEP_S:
                PRODUCT @ PRODUCT
        os.write(self.log, f"{os.getpid()} {time.time()}\n".encode())
        vectors = np.zeros((len(videos), 8), np.float32)
        vectors[:, 0] = 1
        return {"content": Embedded(vectors, np.ones(len(videos), np.bool_))}


def rate(corpus: Path, folder: Path, kind: str, settings: LocalSettings | RaySettings, items: int) -> float:
    """Give videos a second, once every worker has done something."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    encoder = importlib.import_module("ray_scaling").Encoder  # not of __main__: workers import it
    job = EmbedJob(corpus, partial(encoder, kind, str(folder / "log")), BATCH, "float16", (), folder / "work")
    work = [WorkItem(f"k{n}", tuple(range(n * ITEM, (n + 1) * ITEM))) for n in range(items)]
    assert sum(done.num_videos for done in settings.build().run(work, job)) == items * ITEM
    steps = [(pid, float(at)) for pid, at in (line.split() for line in (folder / "log").read_text().splitlines())]
    first = {pid: min(at for who, at in steps if who == pid) for pid, _ in steps}
    start = max(first.values())
    last = {pid: max(at for who, at in steps if who == pid) for pid, _ in steps}
    end = min(last.values())  # from here on there is too little work for all
    return sum(start < at <= end for _, at in steps) * BATCH / (end - start)


def main() -> None:
    """Run the turns and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--turns", type=int, default=2)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    runs: dict[tuple[str, int], LocalSettings | RaySettings] = {
        ("ray", 1): RaySettings(num_actors=1, cpus_per_actor=0.5),
        ("ray", 2): RaySettings(num_actors=2, cpus_per_actor=0.5),
        ("local", 1): LocalSettings(num_workers=1, threads=1),
        ("local", 2): LocalSettings(num_workers=2, threads=1),
    }
    rates: dict[tuple[str, str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(json.dumps({"doc_id": f"v{n}", "title": f"video {n}"}) + "\n" for n in range(asked.items * ITEM))
        (folder / "videos.jsonl").write_text(rows)
        prepare(folder / "videos.jsonl", folder / "corpus", PrepareSettings(num_workers=1))
        for _ in range(asked.turns):
            for kind in ("device", "cpu"):
                for (engine, count), settings in runs.items():
                    found = rate(folder / "corpus", folder / "run", kind, settings, asked.items)
                    rates.setdefault((kind, engine, count), []).append(found)
    report(rates)


def report(rates: dict[tuple[str, str, int], list[float]]) -> None:
    """Print videos a second and ratios."""
    table = Table("tower", "engine", "1 worker", "2 workers", "ratio (median of turns)")
    ratios: dict[str, dict[str, float]] = {}
    for kind, engine in dict.fromkeys((kind, engine) for kind, engine, _ in rates):
        one, two = rates[kind, engine, 1], rates[kind, engine, 2]
        ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
        ratios.setdefault(kind, {})[engine] = round(ratio, 3)
        table.add_row(kind, engine, f"{statistics.median(one):.1f}", f"{statistics.median(two):.1f}", f"{ratio:.2f}")
    Console(stderr=True).print(table)
    beside = statistics.median(rates["device", "ray", 1]) / statistics.median(rates["device", "local", 1])
    line = {
        "name": "ray_scaling",
        "value": ratios["device"]["ray"],
        "unit": "videos/s of two Ray actors / of one, a tower that sleeps, median of the turns",
        "ratio": round(beside, 3),
        "against": "one local process: one Ray actor's rate beside its rate",
        "all_ratios": ratios,
        "target": TARGET,
        "met": ratios["device"]["ray"] >= TARGET,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
