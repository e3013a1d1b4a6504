"""Generations published under readers that score without a pause: no error, no mixture, nothing that grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.layout import write_current
from mmsearch.protocols import Embedded
from mmsearch.scoring import LiveScorer
from mmsearch.text import Tokenizer
from mmsearch.types import Space

DIM, NUM_DOCS, NUM_WORDS = 64, 2000, 400
SPACES = (Space("cover", DIM, "aa"), Space("content", DIM, "bb", 2))
DOC_IDS = [f"video-{i:05d}" for i in range(NUM_DOCS)]
MODEL = f"""
<ir_version: 9, opset_import: ["": 18]>
tower (int64[B, L] input_ids, int64[B, L] attention_mask) => (float[B, {DIM}] query)
<float[{NUM_WORDS}, {DIM}] table, int64[1] middle = {{1}}, int64[1] last = {{-1}}>
{{
    tokens = Gather (table, input_ids)
    mask = Cast <to = 1> (attention_mask)
    weights = Unsqueeze (mask, last)
    real = Mul (tokens, weights)
    sum = ReduceSum <keepdims = 0> (real, middle)
    query = LpNormalization <axis = -1, p = 2> (sum)
}}
"""

READER = """
import itertools, json, sys, time
from pathlib import Path
import numpy as np
import psutil
from mmsearch.scoring import LiveScorer

folder, phase, out, seed = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
rng, me = np.random.default_rng(seed), psutil.Process()
queries = [f"red panda {i}" for i in range(40)]
asked = {query: [f"video-{i:05d}" for i in rng.choice(2200, 300)] for query in queries}  # some are unknown
expected, took, seen, growth = {}, {"steady": [], "swaps": []}, [], []

def check(query, features, number):
    sign = np.float32(1 - 2 * (number % 2))
    known = expected.setdefault(query, (sign * features.values, features.missing))
    assert (sign * features.values == known[0]).all(), f"a mixture in {features.generation}"
    assert (features.missing == known[1]).all()

with LiveScorer(folder, check_every_s=0.05, derived=False) as live:
    for turn in itertools.count():
        told = phase.read_text() if turn % 50 == 0 else told
        if told == "stop":
            break
        query = queries[int(rng.integers(40))]
        start = time.perf_counter()
        scorer = live.current
        if turn % 10:
            found = [scorer.score(query, asked[query])]
        else:
            found = scorer.score_batch([(query, asked[query])] * 3)
        took[told].append(time.perf_counter() - start)
        for features in found:
            assert features.generation == scorer.index.generation
            check(query, features, scorer.index.source["number"])
        if not seen or seen[-1] != features.generation:
            seen.append(features.generation)
        assert live.error is None, live.error
        if turn == 500 or turn % 5000 == 4999:
            growth.append(me.memory_full_info().uss)
p99 = {name: float(np.percentile(times, 99)) * 1e3 for name, times in took.items() if times}
p50 = {name: float(np.percentile(times, 50)) * 1e3 for name, times in took.items() if times}
told = {"answers": sum(map(len, took.values())), "seen": len(seen), "back": sorted(seen) != seen, "growth": growth}
out.write_text(json.dumps(told | {"p99_ms": p99, "p50_ms": p50}))
"""


@pytest.fixture
def publish(tmp_path: Path):
    """Publish the documents, and with an odd number their opposites: `publish(3)`."""
    tower = tmp_path / "tower"
    tower.mkdir()
    rng = np.random.default_rng(1)
    Tokenizer.train(["red panda climbs a tree 0 1 2 3 4 5 6 7 8 9"] * 3, vocab_size=NUM_WORDS).save(tower / "tokenizer")
    model = onnx.parser.parse_model(MODEL)
    table = rng.standard_normal((NUM_WORDS, DIM)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    onnx.checker.check_model(model)
    (tower / "model.onnx").write_bytes(model.SerializeToString())
    rows = [
        {"name": s.name, "dim": DIM, "fingerprint": s.fingerprint, "output": "query", "num_codes": s.num_codes}
        | {"selection": "weighted" if s.num_codes == 1 else "mean"}
        for s in SPACES
    ]
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 16, "spaces": rows}))
    codes = {s.name: rng.standard_normal((NUM_DOCS, s.num_codes, DIM)).astype(np.float32) for s in SPACES}
    for vectors in codes.values():
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    present = np.arange(NUM_DOCS) % 7 != 0

    def run(number: int) -> str:
        sign = np.float32(1 - 2 * (number % 2))
        with GenerationWriter(tmp_path / "index", SPACES) as writer:
            writer.add(DOC_IDS, {n: Embedded(sign * v.reshape(NUM_DOCS, -1), present) for n, v in codes.items()})
            return writer.publish(query_tower=tower, source={"number": number}, keep=1)

    return run


def load(tmp_path: Path, publish: Any, *, readers: int, steady_s: float, swaps: int, every_s: float) -> list[Any]:
    """Let readers score while generations are published; give what each of them tells."""
    publish(0)
    phase = tmp_path / "phase"
    phase.write_text("steady")
    outs = [tmp_path / f"reader-{seed}.json" for seed in range(readers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", READER, str(tmp_path / "index"), str(phase), str(out), str(seed)],
            env=environment,
        )
        for seed, out in enumerate(outs)
    ]
    try:
        time.sleep(steady_s)
        phase.write_text("swaps")
        for number in range(1, swaps + 1):
            publish(number)
            time.sleep(every_s)
        phase.write_text("stop")
        assert [process.wait(60) for process in processes] == [0] * readers
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [json.loads(out.read_text()) for out in outs]


def check(told: list[Any], swaps: int) -> None:
    for one in told:
        assert not one["back"]
        assert one["seen"] >= min(swaps, 3)
        assert one["answers"] > 100


@pytest.mark.slow
def test_no_request_fails_while_generations_are_swapped(tmp_path, publish):
    check(load(tmp_path, publish, readers=2, steady_s=4, swaps=12, every_s=0.3), 12)


@pytest.mark.nightly
def test_a_minute_of_swaps_costs_no_request_and_hardly_any_time(tmp_path, publish):
    told = load(tmp_path, publish, readers=4, steady_s=20, swaps=30, every_s=2)
    print(json.dumps(told))
    check(told, 30)
    for one in told:
        assert one["p99_ms"]["swaps"] <= 2 * one["p99_ms"]["steady"]


@pytest.mark.parametrize(
    "reloads", [pytest.param(60, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.nightly)]
)
def test_memory_files_and_the_cost_of_a_reload_stay_level(tmp_path, publish, reloads):
    names = [publish(0)]
    held = ForwardIndex.open(tmp_path / "index")  # else the next publisher removes it
    names.append(publish(1))
    me, costs, uss, files = psutil.Process(), [], [], []
    with LiveScorer(tmp_path / "index", check_every_s=1e6) as live:
        for number in range(reloads):
            write_current(tmp_path / "index", names[number % 2])
            start = time.process_time()
            assert live.check()
            costs.append(time.process_time() - start)
            features = live.current.score("red panda", DOC_IDS[:300])
            assert features.generation == names[number % 2]
            uss.append(me.memory_full_info().uss)
            files.append(me.num_fds())
    assert held.generation == names[0]
    assert files[-1] == files[10]
    late, early = float(np.median(costs[-20:])), float(np.median(costs[10:30]))
    lag = reloads // 5  # a median of differences: the allocator takes a few megabytes once, at a time of its own
    drift = float(np.median(np.subtract(uss[lag:], uss[:-lag])[-2 * lag :])) / uss[-1]
    print(f"{reloads} reloads: {1e3 * early:.2f} then {1e3 * late:.2f} ms of CPU time, memory {drift:+.3%} in {lag}")
    assert late < 1.5 * early + 0.002
    assert drift < 0.003
