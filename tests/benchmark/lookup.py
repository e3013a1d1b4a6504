"""How long 1,000 look-ups take: the forward index beside LMDB and beside a Python dictionary over a memory map.

    python tests/benchmark/lookup.py [--num-docs 1000000]

Every round asks the three stores, in turn, for the same 1,000 random ids of 256 half floats each, warm. What is timed:
from the list of ids to the [1000, 256] float16 array. The last line is one JSON object. Needs `lmdb`, and about 1.1 GB
in the temporary folder for a million documents.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

DIM, NUM_ASKED, NUM_ROUNDS, WARM_UP = 256, 1000, 300, 20
BATCH = 8192
TARGET_MS = 1.0
SPACE = Space("content", DIM, "benchmark")

Half = npt.NDArray[np.float16]
Lookup = Callable[[Sequence[str]], Half]


def batches(num_docs: int) -> Any:
    """Give ids and random unit vectors, always the same ones."""
    rng = np.random.default_rng(0)
    for start in range(0, num_docs, BATCH):
        vectors = rng.standard_normal((min(BATCH, num_docs - start), DIM), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield [f"video-{i:09d}" for i in range(start, start + len(vectors))], vectors


def build(folder: Path, num_docs: int) -> None:
    """Write the same documents into a forward index and into LMDB; the dictionary reads the index's file of vectors."""
    tower = folder / "tower"
    tower.mkdir()
    row = {"name": SPACE.name, "dim": DIM, "fingerprint": SPACE.fingerprint, "output": "query"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 16, "spaces": [row]}))
    environment = lmdb.open(str(folder / "lmdb"), map_size=num_docs * 2048 + (1 << 24), sync=False)
    with GenerationWriter(folder / "index", [SPACE]) as writer:
        for ids, vectors in batches(num_docs):
            writer.add(ids, {SPACE.name: Embedded(vectors, np.ones(len(ids), bool))})
            halves = vectors.astype(np.float16)
            with environment.begin(write=True) as transaction:
                for doc_id, half in zip(ids, halves, strict=True):
                    transaction.put(doc_id.encode(), half.tobytes(), append=True)
        writer.publish(query_tower=tower, source={})
    environment.close()


def open_forward_index(folder: Path) -> Lookup:
    """Ids to rows through the sorted hashes, then one gather."""
    index = ForwardIndex.open(folder / "index")

    def look_up(doc_ids: Sequence[str]) -> Half:
        rows = index.rows(doc_ids)
        if rows.min() < 0:
            raise KeyError("a document is missing")
        return index.raw(SPACE.name, rows).vectors

    return look_up


def open_lmdb(folder: Path) -> Lookup:
    """One get for each id in a read transaction, joined into one array."""
    environment = lmdb.open(str(folder / "lmdb"), readonly=True, lock=False, readahead=False)

    def look_up(doc_ids: Sequence[str]) -> Half:
        with environment.begin(buffers=True) as transaction:
            joined = b"".join([transaction.get(doc_id.encode()) for doc_id in doc_ids])
        return np.frombuffer(joined, np.float16).reshape(-1, DIM)

    return look_up


def open_dictionary(folder: Path) -> Lookup:
    """A Python dictionary of all ids over `np.memmap`: what one writes first."""
    index = ForwardIndex.open(folder / "index")
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    path = folder / "index" / "generations" / index.generation / f"vectors.{SPACE.name}.npy"
    stored = np.load(path, mmap_mode="r")

    def look_up(doc_ids: Sequence[str]) -> Half:
        return np.asarray(stored[[row_of[doc_id] for doc_id in doc_ids]])

    return look_up


def measure(folder: Path, num_docs: int) -> dict[str, dict[str, float]]:
    """Open the stores and time them in turn, in an order that changes with every round."""
    doors = {"forward index": open_forward_index, "LMDB": open_lmdb, "dict + np.memmap": open_dictionary}
    stores, figures = {}, {}
    for name, door in doors.items():
        start = time.perf_counter()
        stores[name] = door(folder)
        figures[name] = {"open": (time.perf_counter() - start) * 1e3}
    chance = random.Random(1)
    times: dict[str, list[float]] = {name: [] for name in stores}
    for turn in range(WARM_UP + NUM_ROUNDS):
        asked = [f"video-{chance.randrange(num_docs):09d}" for _ in range(NUM_ASKED)]
        order = chance.sample(list(stores), len(stores))
        found = {}
        for name in order:
            start = time.perf_counter()
            found[name] = stores[name](asked)
            if turn >= WARM_UP:
                times[name].append((time.perf_counter() - start) * 1e3)
        if any(not np.array_equal(found[order[0]], other) for other in found.values()):
            raise SystemExit("the stores do not agree on the vectors")
    for name, milliseconds in times.items():
        figures[name] |= {"p50": float(np.percentile(milliseconds, 50)), "p99": float(np.percentile(milliseconds, 99))}
    return figures


def show(figures: dict[str, dict[str, float]], num_docs: int) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"{NUM_ASKED:,} random ids of {num_docs:,} × {DIM} float16, warm, {NUM_ROUNDS} rounds in turn")
    for column in ("store", "open ms", "p50 ms", "p99 ms", "p50 beside ours"):
        table.add_column(column, justify="left" if column == "store" else "right")
    ours = figures["forward index"]
    for name, row in figures.items():
        cells = (f"{row['open']:,.1f}", f"{row['p50']:.3f}", f"{row['p99']:.3f}", f"{row['p50'] / ours['p50']:.1f} ×")
        table.add_row(name, *cells)
    Console(width=100).print(table)
    line = {
        "name": f"lookup_1000_of_{num_docs}_p50",
        "value": round(ours["p50"], 4),
        "unit": "ms",
        "ratio": round(figures["LMDB"]["p50"] / ours["p50"], 2),
        "against": "LMDB get loop, same run",
        "target": TARGET_MS,
        "met": ours["p50"] < TARGET_MS,
    }
    print(json.dumps(line))


def main() -> None:
    """Build, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-docs", type=int, default=1_000_000)
    num_docs = parser.parse_args().num_docs
    with tempfile.TemporaryDirectory(prefix="mmsearch-lookup-") as folder:
        build(Path(folder), num_docs)
        show(measure(Path(folder), num_docs), num_docs)


if __name__ == "__main__":
    main()
