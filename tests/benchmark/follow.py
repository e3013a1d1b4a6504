"""Freshness: how soon a change is visible, what an overlay costs as it grows, and how fast it is merged.

    python tests/benchmark/follow.py --model runs/demo/model --corpus runs/demo/corpus \
        --videos runs/demo/world/videos.jsonl [--docs 1000000] [--changes 40] [--backlog 1000]

First the corpus is refreshed into an index, and `python -m serving follow` runs on it as it is. Every half second a
changed row (its title is new, its pictures and video are decoded as ever) is appended to a file, or a delete; what is
measured is the time until a reader that opens the index anew every 10 ms finds it. Then `--backlog` changes arrive at
once: the rate at which they become visible. Then, without a model, overlays of 1,000 to 100,000 rows on a base of
`--docs` × 256 float16 with content hashes: publishing one more change (every row of the overlay is copied), opening the
result, and merging it into a new base. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.console import Console
from rich.table import Table

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.follow.events import Row
from serving.follow.overlay import publish_compacted, publish_overlay
from serving.follow.served import Served

SPACE = Space("content", 256, "benchmark")
OVERLAYS = (1_000, 10_000, 100_000)
MAX_DELAY_S = 5.0


def upserts(videos: Path, count: int) -> list[dict[str, Any]]:
    """Give rows of the table with new titles, paths made absolute."""
    rows = [json.loads(line) for line in videos.read_text(encoding="utf-8").splitlines()]
    found = []
    for number in range(count):
        row = dict(rows[number % len(rows)])
        for name in ("cover", "video"):
            if row.get(name):
                row[name] = str((videos.parent / row[name]).resolve())
        row["doc_id"], row["title"] = f"new-{number}", f"{row.get('title') or ''} {number}"
        found.append(row)
    return found


def visible(index: Path, doc_id: str, wanted: bool, process: subprocess.Popen[bytes]) -> None:
    while (ForwardIndex.open(index, verify="none").rows([doc_id])[0] >= 0) != wanted:
        if process.poll() is not None:
            sys.exit("the follower ended")
        time.sleep(0.01)


def follow(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Measure a follower in a process of its own."""
    index, stream = folder / "followed", folder / "changes"
    stream.mkdir()
    serving = [sys.executable, "-m", "serving"]
    with_model = ["--model", given.model, "--corpus", given.corpus, "--index", index, "device=cpu"]
    subprocess.run([str(part) for part in [*serving, "refresh", *with_model]], check=True, stdout=subprocess.DEVNULL)
    command = [*serving, "follow", *with_model, f"--source={stream}", f"max_delay_s={MAX_DELAY_S}"]
    rows = upserts(given.videos, given.changes + 1 + given.backlog)
    file = (stream / "1.jsonl").open("a", encoding="utf-8", buffering=1)
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    try:
        file.write(json.dumps(rows[0]) + "\n")
        visible(index, rows[0]["doc_id"], True, process)
        upsert_s, delete_s = [], []
        for row in rows[1 : given.changes + 1]:
            time.sleep(0.5)
            start = time.perf_counter()
            file.write(json.dumps(row) + "\n")
            visible(index, row["doc_id"], True, process)
            upsert_s.append(time.perf_counter() - start)
            time.sleep(0.1)
            start = time.perf_counter()
            file.write(json.dumps({"op": "delete", "doc_id": row["doc_id"]}) + "\n")
            visible(index, row["doc_id"], False, process)
            delete_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        file.write("".join(json.dumps(row) + "\n" for row in rows[given.changes + 1 :]))
        visible(index, rows[-1]["doc_id"], True, process)
        rate = given.backlog / (time.perf_counter() - start)
    finally:
        file.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return {
        "upsert_p50_s": statistics.median(upsert_s),
        "upsert_max_s": max(upsert_s),
        "delete_p50_s": statistics.median(delete_s),
        "delete_max_s": max(delete_s),
        "docs_per_s": rate,
    }


def vectors(count: int, seed: int) -> dict[str, Embedded]:
    made = np.random.default_rng(seed).standard_normal((count, SPACE.dim), np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return {SPACE.name: Embedded(made, np.ones(count, bool))}


def write_base(index: Path, docs: int) -> None:
    tower = index.parent / "tower"
    tower.mkdir()
    space = {"name": SPACE.name, "dim": SPACE.dim, "fingerprint": SPACE.fingerprint, "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": [space]}))
    with GenerationWriter(index, [SPACE]) as writer:
        for start in range(0, docs, 50_000):
            count = min(50_000, docs - start)
            contents = np.full((count, 8), start + 1, np.uint64)
            writer.add([f"v{start + n}" for n in range(count)], vectors(count, start), contents)
        writer.publish(query_tower=tower, source={})


def rows_of(numbers: range) -> dict[str, Row | None]:
    made = vectors(len(numbers), numbers.start)[SPACE.name]
    contents = np.ones((1, 8), np.uint64)
    return {
        f"v{number}": Row({SPACE.name: Embedded(made.vectors[at : at + 1], made.present[at : at + 1])}, contents)
        for at, number in enumerate(numbers)
    }


def overlays(index: Path, docs: int) -> list[dict[str, float]]:
    """Measure publishing, opening and merging with overlays of several sizes."""
    found, have = [], 0
    for size in (size for size in OVERLAYS if size <= docs // 5):
        publish_overlay(index, Served(index, [SPACE]), rows_of(range(have, size)), {})
        have, seconds = size, []
        for turn in range(5):
            served = Served(index, [SPACE])
            start = time.perf_counter()
            publish_overlay(index, served, rows_of(range(turn, turn + 1)), {})
            seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        reader = ForwardIndex.open(index)
        reader.rows(["v1"])
        found.append({"rows": size, "publish_s": statistics.median(seconds), "open_s": time.perf_counter() - start})
    served = Served(index, [SPACE])
    start = time.perf_counter()
    publish_compacted(index, served)
    took = time.perf_counter() - start
    return [*found, {"merged_rows": docs + have, "merge_s": took, "merge_rows_per_s": (docs + have) / took}]


def main() -> None:
    """Measure, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "corpus", "videos"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--docs", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--backlog", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {} if given.model is None else follow(given, folder)
        write_base(folder / "index", given.docs)
        result["overlays"] = overlays(folder / "index", given.docs)
    table = Table("what", "value")
    for key, value in result.items():
        table.add_row(key, f"{value:.3f}" if isinstance(value, float) else json.dumps(value))
    Console().print(table)
    print(json.dumps(result | {"docs": given.docs}))


if __name__ == "__main__":
    main()
