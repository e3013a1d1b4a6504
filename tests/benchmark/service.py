"""What the HTTP service costs over the library, and what a swap of the index does to its answers.

    python tests/benchmark/service.py [--num-docs 100000] [--candidates 1000] [--seconds 10] [--rounds 3] [--workers 1]
    python tests/benchmark/service.py --rounds 0 --swap-minutes 10 --swaps 50

An index of four spaces of 256 half floats is published, with a query tower of 3 layers, 768 wide, bytes for weights,
and random. The library scores requests (a query of 16 tokens, 1,000 random candidates) in one thread of a process of
its own; the service gets the same requests over connections that are kept, by wrk where it is installed, or else from
another Python process, and answers them in JSON or in Arrow. All in turns, medians over the rounds; once with queries
that are always new, and once with queries that are remembered, where the share of HTTP is as large as it can be. The
time of processors is counted for each request, too: it is firmer on a busy machine. Then the service is asked at half
of its own throughput, at random moments, and each answer is timed from when it was due. Memory is PSS: what one more
worker takes. Last, two generations are swapped again and again under load; every answer that is no 200 counts, and so
does one whose scores are not those of the generation that it names. Run it on two free cores or more. The last line is
one JSON object. Needs `onnx` and the extra `serve`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
from parts.answers import Answers, Figures
from parts.http_load import Load, in_own_process, request_bytes
from parts.student import write_student
from parts.swapper import Swapper
from rich.console import Console
from rich.table import Table

from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer
from mmsearch.types import Space
from serving.service.arrow import ARROW

DIM, BATCH = 256, 8192
SPACES = [Space(name, DIM, "benchmark") for name in ("cover", "frames", "perception", "content")]
Asked = tuple[str, list[str]]
NUM_QUERIES = 64
WORDS = ("red", "panda", "climbs", "a", "tree")
#: The answers that a client may ask for.
ACCEPT = {"json": "application/json", "arrow": ARROW}
TARGET_SHARE, TARGET_P99_MS, TARGET_WORKER_MB = 0.95, 25.0, 150.0


def publish(folder: Path, num_docs: int, sign: float) -> str:
    """Publish documents of four spaces, or their opposites."""
    rng = np.random.default_rng(0)
    with GenerationWriter(folder / "index", SPACES) as writer:
        for start in range(0, num_docs, BATCH):
            num = min(BATCH, num_docs - start)
            made = {}
            for space in SPACES:
                vectors = rng.standard_normal((num, DIM), dtype=np.float32)
                vectors /= sign * np.linalg.norm(vectors, axis=1, keepdims=True)
                made[space.name] = Embedded(vectors, np.ones(num, bool))
            writer.add([f"video-{i:09d}" for i in range(start, start + num)], made)
        return writer.publish(query_tower=folder / "tower", source={})


def make_requests(num_docs: int, candidates: int) -> list[Asked]:
    """Give the queries with their candidates."""
    chance = random.Random(3)
    return [
        (" ".join(chance.choices(WORDS, k=14)), [f"video-{chance.randrange(num_docs):09d}" for _ in range(candidates)])
        for _ in range(NUM_QUERIES)
    ]


def score_alone(index: Path, requests: list[Asked], seconds: float, cache_size: int, out: Connection) -> None:
    """Score in a loop; tell how many requests a second, and milliseconds of a processor for each."""
    scorer = FeatureScorer.open(index, warm=True, cache_size=cache_size)
    for query, doc_ids in requests:
        scorer.score(query, doc_ids)
    start, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        scorer.score(*requests[done % len(requests)])
        done += 1
    out.send((done / (time.perf_counter() - start), (time.process_time() - cpu) / done * 1e3))


def library(index: Path, requests: list[Asked], seconds: float, cache_size: int) -> tuple[float, float]:
    """Give what the library does in one thread of a process of its own."""
    here, there = multiprocessing.Pipe(duplex=False)
    given = (index, requests, seconds, cache_size, there)
    process = multiprocessing.get_context("spawn").Process(target=score_alone, args=given)
    process.start()
    found: tuple[float, float] = here.recv()
    process.join()
    return found


@contextmanager
def service(index: Path, workers: int, cache_size: int = 4096) -> Iterator[tuple[int, int]]:
    """Run the service; give its port and the id of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [f"models.main.index={index}", "models.main.recall=null", f"port={port}", f"num_workers={workers}"]
    settings += ["access_log=false", "deadline_ms=10000", "check_every_s=0.2", f"cache_size={cache_size}"]
    process = subprocess.Popen([sys.executable, "-m", "serving", "serve", *settings], stderr=subprocess.PIPE)
    try:
        wait_ready(port, process)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
        if process.returncode:
            raise SystemExit(f"the service ended with status {process.returncode}: {told.decode()}")


def wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the service does not answer")


def as_fast_as_it_goes(port: int, requests: list[bytes], seconds: float, folder: Path) -> tuple[float, int]:
    """Give answers a second, and how many were no 200: by wrk, or from another Python process."""
    if shutil.which("wrk") is None:
        load = in_own_process(port, requests, seconds)
        return load.per_second, load.failed
    for number, request in enumerate(requests):
        (folder / f"request{number}").write_bytes(request)
    script = (
        "local asked = {}\nlocal at = 0\n"
        f"for n = 0, {len(requests) - 1} do local f = io.open('{folder}/request' .. n, 'rb'); "
        "asked[n] = f:read('*a'); f:close() end\n"
        f"request = function() at = (at + 1) % {len(requests)}; return asked[at] end\n"
    )
    (folder / "load.lua").write_text(script)
    command = ["wrk", "-t1", "-c8", f"-d{seconds:g}s", "-s", str(folder / "load.lua"), f"http://127.0.0.1:{port}/"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    failed = sum(int(line.split()[-1]) for line in told.splitlines() if "Non-2xx" in line)
    failed += sum(int(n) for line in told.splitlines() if "Socket errors" in line for n in line.split() if n.isdigit())
    (rate,) = [float(line.split()[-1]) for line in told.splitlines() if line.startswith("Requests/sec")]
    return rate, failed


def memory_mb(pid: int) -> float:
    """Give the PSS of a process and all that it started, in MB."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def memory_of_workers(index: Path, asked: list[Asked]) -> list[float]:
    """Give the memory of the service with two and with three workers that have all answered."""
    found = []
    for workers in (2, 3):
        with service(index, workers) as (port, pid):
            in_own_process(port, bodies(port, asked), 3, connections=24)
            found.append(memory_mb(pid))
    return found


def swap_under_load(
    index: Path,
    names: list[str],
    asked: list[Asked],
    minutes: float,
    swaps: int,
    rate: float,
    workers: int,
) -> tuple[Load, Swapper]:
    """Load the service at a rate while generations are swapped."""
    with service(index, workers) as (port, _):
        swapper = Swapper(index, names, port, asked[0], [space.name for space in SPACES])
        thread = threading.Thread(target=swapper.run, args=(swaps, minutes * 60 / swaps))
        thread.start()
        load = in_own_process(port, bodies(port, asked), minutes * 60, rate=rate)
        thread.join()
    return load, swapper


def bodies(port: int, asked: list[Asked], accept: str = "application/json") -> list[bytes]:
    """Give the requests as they go over the wire."""
    told = [json.dumps({"query": query, "doc_ids": doc_ids}).encode() for query, doc_ids in asked]
    return [request_bytes(port, "/v1/score", body, accept) for body in told]


def throughput(index: Path, asked: list[Asked], options: argparse.Namespace, folder: Path, cache_size: int) -> Figures:
    """Compare the service with the library, by JSON and by Arrow, and time both at half load."""
    alone: list[tuple[float, float]] = []
    figures: Figures = {}
    with service(index, options.workers, cache_size) as (port, pid):
        answers = {name: Answers(bodies(port, asked, accept)) for name, accept in ACCEPT.items()}
        for kind in answers.values():
            as_fast_as_it_goes(port, kind.requests, 2, folder)
        for _ in range(options.rounds):
            alone.append(library(index, asked, options.seconds, cache_size))
            for kind in answers.values():
                before = cpu_s(pid)
                per_second, lost = as_fast_as_it_goes(port, kind.requests, options.seconds, folder)
                kind.add(per_second, (cpu_s(pid) - before) / (per_second * options.seconds) * 1e3, alone[-1][0], lost)
        for name, kind in answers.items():
            rate = statistics.median(kind.per_second) / 2
            half = in_own_process(port, kind.requests, 2 * options.seconds, rate=rate)
            figures |= {f"{name}_{key}": value for key, value in kind.figures(half).items()}
    figures |= {"library_per_s": round(statistics.median(row[0] for row in alone), 1)}
    return figures | {"library_cpu_ms": round(statistics.median(row[1] for row in alone), 2)}


def cpu_s(pid: int) -> float:
    """Give the seconds of processors that a process and its children have had."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(folder: Path, options: argparse.Namespace) -> Figures:
    """Run all of it."""
    names = [publish(folder, options.num_docs, sign) for sign in (1.0, -1.0)]
    index = folder / "index"
    asked = make_requests(options.num_docs, options.candidates)
    figures: Figures = {"num_docs": options.num_docs, "candidates": options.candidates, "workers": options.workers}
    rate = options.rate
    if options.rounds:
        for kind, cache_size in (("new", 0), ("remembered", 4096)):
            found = throughput(index, asked, options, folder, cache_size)
            figures |= {f"{kind}_{name}": value for name, value in found.items()}
        rate = float(figures["remembered_json_per_s"]) / 2
        memory = memory_of_workers(index, asked)
        figures |= {"two_workers_mb": round(memory[0], 1), "one_more_worker_mb": round(memory[1] - memory[0], 1)}
    if not options.swap_minutes:
        return figures
    load, swapper = swap_under_load(index, names, asked, options.swap_minutes, options.swaps, rate, options.workers)
    figures |= {"swaps": options.swaps, "swap_minutes": options.swap_minutes, "swap_answers": len(load.seconds)}
    figures |= {"swap_failed": load.failed, "swap_wrong": swapper.wrong, "swap_generations": len(swapper.seen)}
    return figures | {f"swap_p{q}_ms": round(load.quantile_ms(q / 100), 2) for q in (50, 99)}


def show(figures: Figures) -> None:
    """Print the figures beside what they should be."""
    goals = {"one_more_worker_mb": f"< {TARGET_WORKER_MB:g}", "swap_failed": "0", "swap_wrong": "0"}
    for kind in (f"{queries}_{answer}" for queries in ("new", "remembered") for answer in ACCEPT):
        goals |= {f"{kind}_share": f">= {TARGET_SHARE}", f"{kind}_half_load_p99_ms": f"< {TARGET_P99_MS:g}"}
        goals |= {f"{kind}_failed": "0"}
    table = Table("figure", "value", "goal", box=None)
    for name, value in figures.items():
        table.add_row(name, f"{value}", goals.get(name, ""))
    Console(width=100).print(table)
    print(json.dumps(figures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-docs", type=int, default=100_000)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second of --rounds 0")
    parser.add_argument("--swap-minutes", type=float, default=1.0, help="0 leaves the swaps out")
    parser.add_argument("--swaps", type=int, default=10)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        write_student(Path(folder, "tower"), SPACES)
        show(measure(Path(folder), options))


if __name__ == "__main__":
    main()
