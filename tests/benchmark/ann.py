"""Recall and time of the faiss indexes that `mmsearch index ann` builds, beside exact search.

    python tests/benchmark/ann.py [--num-docs 20000] [--dim 128]

Documents are drawn as learned embeddings lie: 24 hidden numbers mixed into all components, with noise; queries likewise
with more noise, so that they lie further from documents than these from each other. Exact search is `ExactSearch` (all
vectors, one query at a time). One thread. The last line is one JSON object: recall@100 of hnsw with default settings.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mmsearch.cli.index_print import size
from mmsearch.extras import require
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.recall.build import build_ann
from mmsearch.index.recall.search import ExactSearch
from mmsearch.index.recall.settings import AnnSettings
from mmsearch.protocols import Embedded, Float32
from mmsearch.types import Space

HIDDEN, NUM_QUERIES, BATCH, TARGET = 24, 300, 8192, 0.95
STRUCTURES = ({"type": "flat"}, {"type": "hnsw"}, {"type": "ivf_pq"}, {"type": "ivf_pq", "num_probes": 64})


def draw(rng: np.random.Generator, mix: Float32, num: int, noise: float) -> Float32:
    """Give unit vectors, [num, D]."""
    vectors = rng.standard_normal((num, HIDDEN), dtype=np.float32) @ mix
    vectors += noise * rng.standard_normal(vectors.shape, dtype=np.float32)
    unit: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def publish(folder: Path, num_docs: int, dim: int, mix: Float32) -> None:
    """Publish the documents."""
    space, rng = Space("content", dim, "benchmark"), np.random.default_rng(1)
    (folder / "tower").mkdir()
    row = {"name": space.name, "dim": dim, "fingerprint": space.fingerprint, "output": "query"}
    (folder / "tower" / "query_tower.json").write_text(
        json.dumps({"format_version": 1, "max_length": 16, "spaces": [row]})
    )
    with GenerationWriter(folder / "index", [space]) as writer:
        for start in range(0, num_docs, BATCH):
            vectors = draw(rng, mix, min(BATCH, num_docs - start), 0.3)
            ids = [f"video-{i:09d}" for i in range(start, start + len(vectors))]
            writer.add(ids, {space.name: Embedded(vectors, np.ones(len(ids), bool))})
        writer.publish(query_tower=folder / "tower", source={})


def time_exact(folder: Path, queries: Float32) -> float:
    """Give milliseconds of one exact search for 100 documents."""
    search = ExactSearch(ForwardIndex.open(folder / "index"))
    search.search("content", queries[0], 100)
    start = time.perf_counter()
    for query in queries:
        search.search("content", query, 100)
    return (time.perf_counter() - start) / len(queries) * 1e3


def main() -> None:
    """Publish, build each, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-docs", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    given = parser.parse_args()
    require("faiss", extra="faiss").omp_set_num_threads(1)
    mix = np.random.default_rng(0).standard_normal((HIDDEN, given.dim), dtype=np.float32)
    queries = draw(np.random.default_rng(2), mix, NUM_QUERIES, 1.0)
    table = Table(title=f"{given.num_docs:,} × {given.dim}, {NUM_QUERIES} queries")
    for column in ("search", "built in s", "size", "recall@100", "ms a query"):
        table.add_column(column, justify="left" if column == "search" else "right")
    recalls = {}
    with tempfile.TemporaryDirectory(prefix="mmsearch-ann-") as name:
        folder = Path(name)
        publish(folder, given.num_docs, given.dim, mix)
        table.add_row("exact", "", "", "1.0000", f"{time_exact(folder, queries):.2f}")
        for structure in STRUCTURES:
            settings = AnnSettings.model_validate({"structure": structure, "num_queries": NUM_QUERIES})
            (told,) = build_ann(folder / "index", settings, {"content": queries})
            named = " ".join(f"{key}={value}" if key != "type" else str(value) for key, value in structure.items())
            recalls[named] = told.recall.value
            cells = (f"{told.seconds:.1f}", size(told.bytes), f"{told.recall.value:.4f}")
            table.add_row(named, *cells, f"{told.recall.ms_per_query:.2f}")
    Console(width=100).print(table)
    line = {"name": f"ann_recall_at_100_of_{given.num_docs}", "value": round(recalls["hnsw"], 4), "unit": "share"}
    print(json.dumps(line | {"target": TARGET, "met": recalls["hnsw"] >= TARGET}))


if __name__ == "__main__":
    main()
