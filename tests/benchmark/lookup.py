"""How long 1,000 look-ups take: the forward index beside LMDB, Redis, Lance and a Python dictionary over a memory map.

    python tests/benchmark/lookup.py [--num-docs 1000000] [--rounds 300]

Every round asks the stores, in turn, for the same 1,000 random ids of 256 half floats each, warm, and compares what
they gave with each other. What is timed: from the list of ids to the [1000, 256] float16 array, in wall time and in
CPU time of this process, which is firmer on a busy machine (what the Redis server takes is not in it). `scored` is the
forward index as scoring reads it: as float32, with what is missing. The last line is one JSON object.

Stores whose library or server is absent are left out, and that is said: `lmdb`, `redis` with a `redis-server` on the
path (it is started on a local socket, without persistence), `lance` (package `pylance`). A million documents take about
2.2 GB in the temporary folder and 0.8 GB of memory for Redis. Lance looks up by row; the row comes from our id table.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

DIM, NUM_ASKED, WARM_UP = 256, 1000, 20
BATCH = 8192
TARGET_MS = 1.0
SPACE = Space("content", DIM, "benchmark")

Half = npt.NDArray[np.float16]
Lookup = Callable[[Sequence[str]], Any]
Batches = Callable[[], Iterator[tuple[list[str], Half]]]


def batches(num_docs: int) -> Iterator[tuple[list[str], Half]]:
    """Give ids and random unit vectors, always the same ones."""
    rng = np.random.default_rng(0)
    for start in range(0, num_docs, BATCH):
        vectors = rng.standard_normal((min(BATCH, num_docs - start), DIM), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield [f"video-{i:09d}" for i in range(start, start + len(vectors))], vectors.astype(np.float16)


def build_index(folder: Path, given: Batches, _: ExitStack) -> None:
    """Publish the documents as a generation."""
    tower = folder / "tower"
    tower.mkdir()
    row = {"name": SPACE.name, "dim": DIM, "fingerprint": SPACE.fingerprint, "output": "query"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 16, "spaces": [row]}))
    with GenerationWriter(folder / "index", [SPACE]) as writer:
        for ids, halves in given():
            writer.add(ids, {SPACE.name: Embedded(halves.astype(np.float32), np.ones(len(ids), bool))})
        writer.publish(query_tower=tower, source={})


def open_index(folder: Path) -> Lookup:
    """Ids to rows through the sorted hashes, then one gather; blocks are compared with their checksums when new."""
    index = ForwardIndex.open(folder / "index")

    def look_up(doc_ids: Sequence[str]) -> Half:
        rows = index.rows(doc_ids)
        if rows.min() < 0:
            raise KeyError("a document is missing")
        found: Half = index.raw(SPACE.name, rows).vectors
        return found

    return look_up


def open_scored(folder: Path) -> Lookup:
    """The same as scoring asks: float32, and which are present."""
    index = ForwardIndex.open(folder / "index")

    def look_up(doc_ids: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors, present = index.vectors(SPACE.name, index.rows(doc_ids))
        if not present.all():
            raise KeyError("a document is missing")
        return vectors

    return look_up


def open_dictionary(folder: Path) -> Lookup:
    """A Python dictionary of all ids over `np.memmap`: what one writes first."""
    index = ForwardIndex.open(folder / "index")
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    path = folder / "index" / "generations" / index.generation / f"vectors.{SPACE.name}.npy"
    stored = np.load(path, mmap_mode="r")
    return lambda doc_ids: np.asarray(stored[[row_of[doc_id] for doc_id in doc_ids]])


def build_lmdb(folder: Path, given: Batches, _: ExitStack) -> None:
    """One value a document, keys in order."""
    lmdb = importlib.import_module("lmdb")
    with lmdb.open(str(folder / "lmdb"), map_size=1 << 36, sync=False) as environment:
        for ids, halves in given():
            with environment.begin(write=True) as transaction:
                for doc_id, half in zip(ids, halves, strict=True):
                    transaction.put(doc_id.encode(), half.tobytes(), append=True)


def open_lmdb(folder: Path) -> Lookup:
    """One get for each id in a read transaction, joined into one array."""
    environment = importlib.import_module("lmdb").open(str(folder / "lmdb"), readonly=True, lock=False, readahead=False)

    def look_up(doc_ids: Sequence[str]) -> Half:
        with environment.begin(buffers=True) as transaction:
            joined = b"".join([transaction.get(doc_id.encode()) for doc_id in doc_ids])
        return np.frombuffer(joined, np.float16).reshape(-1, DIM)

    return look_up


def build_redis(folder: Path, given: Batches, stack: ExitStack) -> None:
    """One string a document, in a server of our own."""
    client = importlib.import_module("redis").Redis(unix_socket_path=str(folder / "redis.sock"))
    command = ["redis-server", "--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", ""]
    server = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    stack.callback(server.wait)
    stack.callback(server.terminate)
    for _ in range(200):
        if (folder / "redis.sock").exists():
            break
        time.sleep(0.05)
    for ids, halves in given():
        client.mset({doc_id: half.tobytes() for doc_id, half in zip(ids, halves, strict=True)})
    client.close()


def open_redis(folder: Path) -> Lookup:
    """One MGET over the local socket."""
    client = importlib.import_module("redis").Redis(unix_socket_path=str(folder / "redis.sock"))
    client.ping()
    return lambda doc_ids: np.frombuffer(b"".join(client.mget(doc_ids)), np.float16).reshape(-1, DIM)


def build_lance(folder: Path, given: Batches, _: ExitStack) -> None:
    """One row a document, in their order."""
    lance, pa = importlib.import_module("lance"), importlib.import_module("pyarrow")
    schema = pa.schema([pa.field("vector", pa.list_(pa.float16(), DIM))])

    def rows() -> Iterator[Any]:
        for _, halves in given():
            numbers = pa.FixedSizeListArray.from_arrays(pa.array(halves.reshape(-1)), DIM)
            yield pa.record_batch([numbers], schema=schema)

    lance.write_dataset(rows(), str(folder / "lance"), schema=schema)


def open_lance(folder: Path) -> Lookup:
    """Take by row; Lance has no table of ids of its own that is as quick, so ours gives the rows."""
    index = ForwardIndex.open(folder / "index")
    dataset = importlib.import_module("lance").dataset(str(folder / "lance"))

    def look_up(doc_ids: Sequence[str]) -> Half:
        taken = dataset.take(index.rows(doc_ids).tolist(), columns=["vector"])["vector"].combine_chunks()
        found: Half = taken.flatten().to_numpy(zero_copy_only=False).reshape(-1, DIM)
        return found

    return look_up


#: name -> what builds it (None: reads what another one built), what opens it, and the module or program that it needs
STORES: dict[str, tuple[Callable[[Path, Batches, ExitStack], None] | None, Callable[[Path], Lookup], str | None]] = {
    "forward index": (build_index, open_index, None),
    "forward index, scored": (None, open_scored, None),
    "dict + np.memmap": (None, open_dictionary, None),
    "LMDB": (build_lmdb, open_lmdb, "lmdb"),
    "Redis": (build_redis, open_redis, "redis"),
    "Lance": (build_lance, open_lance, "lance"),
}


def is_there(name: str) -> bool:
    """Tell whether a store can be measured here; say so when it cannot."""
    needed = STORES[name][2]
    if needed is None:
        return True
    if importlib.util.find_spec(needed) is None:
        print(f"{name} is left out: no module '{needed}' here")
        return False
    if needed == "redis" and shutil.which("redis-server") is None:
        print("Redis is left out: no redis-server on the path")
        return False
    return True


def measure(folder: Path, num_docs: int, rounds: int) -> dict[str, dict[str, float]]:
    """Build and open the stores, and time them in turn, in an order that changes with every round."""
    stores: dict[str, Lookup] = {}
    figures: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        for name, (build, door, _) in STORES.items():
            if not is_there(name):
                continue
            start = time.perf_counter()
            if build is not None:
                build(folder, lambda: batches(num_docs), stack)
            built = time.perf_counter() - start
            start = time.perf_counter()
            stores[name] = door(folder)
            figures[name] = {"build": built, "open": (time.perf_counter() - start) * 1e3}
        times = time_in_turn(stores, num_docs, rounds)
    for name, rows in times.items():
        wall, cpu = np.array(rows).T
        figures[name] |= {f"p{share}": float(np.percentile(wall, share)) for share in (50, 99)}
        figures[name]["cpu"] = float(np.median(cpu))
    return figures


def time_in_turn(stores: dict[str, Lookup], num_docs: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Give milliseconds of wall and of CPU time of every round, by store."""
    chance = random.Random(1)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    for turn in range(WARM_UP + rounds):
        asked = [f"video-{chance.randrange(num_docs):09d}" for _ in range(NUM_ASKED)]
        order = chance.sample(list(stores), len(stores))
        found = {}
        for name in order:
            start, cpu = time.perf_counter(), time.process_time()
            found[name] = stores[name](asked)
            if turn >= WARM_UP:
                times[name].append(((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3))
        if any(not np.array_equal(found[order[0]], other) for other in found.values()):
            raise SystemExit("the stores do not agree on the vectors")
    return times


def show(figures: dict[str, dict[str, float]], num_docs: int, rounds: int) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"{NUM_ASKED:,} random ids of {num_docs:,} × {DIM} float16, warm, {rounds} rounds in turn")
    for column in ("store", "build s", "open ms", "p50 ms", "p99 ms", "CPU p50 ms", "p50 beside ours"):
        table.add_column(column, justify="left" if column == "store" else "right")
    ours = figures["forward index"]
    for name, row in figures.items():
        cells = (f"{row['build']:.1f}", f"{row['open']:,.1f}", f"{row['p50']:.3f}", f"{row['p99']:.3f}")
        table.add_row(name, *cells, f"{row['cpu']:.3f}", f"{row['p50'] / ours['p50']:.1f} ×")
    Console(width=100).print(table)
    line = {
        "name": f"lookup_1000_of_{num_docs}_p50",
        "value": round(ours["p50"], 4),
        "unit": "ms",
        "cpu": round(ours["cpu"], 4),
        "ratios": {
            name: round(row["p50"] / ours["p50"], 2) for name, row in figures.items() if name != "forward index"
        },
        "target": TARGET_MS,
        "met": ours["p50"] < TARGET_MS,
    }
    print(json.dumps(line))


def main() -> None:
    """Build, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-docs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmsearch-lookup-") as folder:
        show(measure(Path(folder), given.num_docs, given.rounds), given.num_docs, given.rounds)


if __name__ == "__main__":
    main()
