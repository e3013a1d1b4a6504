"""What checksums cost: comparing a whole generation, and look-ups that compare each block when it is first used.

    python tests/benchmark/index_checks.py [--num-docs 1000000] [--rounds 300]

Look-ups of 1,000 random ids (rows, then vectors as float32) are timed in turn on readers of the same generation: one
that compares nothing, one that compares lazily and is warm, both over an overlay of 1 % of the documents as well. The
first look-up of a lazy reader that is not warm is told too. The last line is one JSON object. A million documents take
0.6 GB in the temporary folder; all of it is in memory while it is read.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mmsearch.index import ForwardIndex, GenerationWriter, list_generations
from mmsearch.protocols import Embedded
from mmsearch.types import Space

DIM, NUM_ASKED, WARM_UP, BATCH = 256, 1000, 20, 8192
TARGET_GB_S = 1.0
SPACE = Space("content", DIM, "benchmark")


def publish(folder: Path, doc_ids: list[str], base: str | None) -> str:
    """Write documents with random unit vectors."""
    tower = folder / "tower"
    tower.mkdir(exist_ok=True)
    row = {"name": SPACE.name, "dim": DIM, "fingerprint": SPACE.fingerprint, "output": "query"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 16, "spaces": [row]}))
    rng = np.random.default_rng(0)
    with GenerationWriter(folder / "index", [SPACE], base=base) as writer:
        for start in range(0, len(doc_ids), BATCH):
            part = doc_ids[start : start + BATCH]
            vectors = rng.standard_normal((len(part), DIM), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            writer.add(part, {SPACE.name: Embedded(vectors, np.ones(len(part), bool))})
        return writer.publish(query_tower=tower if base is None else None, source={})


def milliseconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def look_up(index: ForwardIndex, asked: list[str]) -> None:
    """Ids to float32 vectors."""
    _, present = index.vectors(SPACE.name, index.rows(asked))
    if not present.all():
        raise SystemExit("a document is missing")


def in_turn(readers: dict[str, ForwardIndex], doc_ids: list[str], rounds: int) -> dict[str, list[float]]:
    """Ask all readers for the same ids, in an order that changes with every round."""
    chance, times = random.Random(1), {name: list[float]() for name in readers}
    for turn in range(WARM_UP + rounds):
        asked = [chance.choice(doc_ids) for _ in range(NUM_ASKED)]
        for name in chance.sample(list(readers), len(readers)):
            taken = milliseconds(lambda name=name, asked=asked: look_up(readers[name], asked))
            if turn >= WARM_UP:
                times[name].append(taken)
    return times


def measure(folder: Path, num_docs: int, rounds: int) -> dict[str, float]:
    """Publish, read, look up."""
    doc_ids = [f"video-{i:09d}" for i in range(num_docs)]
    base = publish(folder, doc_ids, None)
    overlay = publish(folder, random.Random(2).sample(doc_ids, max(1, num_docs // 100)), base)
    index_dir = folder / "index"
    size = {told.name: told.bytes for told in list_generations(index_dir)}[base]
    plain = ForwardIndex.open(index_dir, base, verify="none")
    figures = {"bytes": float(size), "fsck ms": min(milliseconds(plain.verify) for _ in range(3))}
    lazy = ForwardIndex.open(index_dir, base)
    plain.warm()
    figures["first look-up, lazy and not warm, ms"] = milliseconds(lambda: look_up(lazy, doc_ids[:: num_docs // 1000]))
    figures["warm ms"] = milliseconds(ForwardIndex.open(index_dir, base).warm)
    readers = {"nothing compared": plain, "lazy": lazy}
    readers["nothing compared, overlay"] = ForwardIndex.open(index_dir, overlay, verify="none")
    readers["lazy, overlay"] = ForwardIndex.open(index_dir, overlay)
    for reader in readers.values():
        reader.warm()
    for name, times in in_turn(readers, doc_ids, rounds).items():
        figures |= {f"{name}: p{q} ms": float(np.percentile(times, q)) for q in (50, 99)}
    return figures


def show(figures: dict[str, float], num_docs: int) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"{num_docs:,} × {DIM} float16; {NUM_ASKED:,} random ids a look-up")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.3f}")
    Console(width=100).print(table)
    rate = figures["bytes"] / figures["fsck ms"] / 1e6
    line = {
        "name": f"fsck_of_{num_docs}",
        "value": round(rate, 2),
        "unit": "GB/s",
        "ratio": round(figures["lazy: p50 ms"] / figures["nothing compared: p50 ms"], 3),
        "against": "look-ups that compare nothing, same run (ratio of warm lazy ones)",
        "target": TARGET_GB_S,
        "met": rate >= TARGET_GB_S,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-docs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmsearch-checks-") as folder:
        show(measure(Path(folder), given.num_docs, given.rounds), given.num_docs)


if __name__ == "__main__":
    main()
