"""What a refresh costs that has nothing to do: time and peak memory for a million videos.

    python tests/benchmark/refresh_noop.py [--videos 1000000] [--sentences] [--folder FOLDER]

A corpus of so many videos (ids, titles, hashes of all modalities; no pictures, which a plan does not read) and an index
that holds all of them are made first. Then, each in a process of its own that has torch loaded, as the command has:

- `same corpus`: the index was made of this very corpus, which two hashes tell;
- `video by video`: the corpus was prepared anew, cut or sorted in another way, so every video is looked up and the
  hashes of its modalities are compared.

Both must publish nothing. The last line is one JSON object, about the second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1"}

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmsearch.data.key_sentences import KeySentences, write_key_sentences
from mmsearch.data.manifest import SHARDS, Manifest, Shard
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.shards import SCHEMA
from mmsearch.files import hash_bytes, hash_file
from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Modality, Space

SPACES = tuple(Space(name, 64, f"{name}-1") for name in ("cover", "frames", "perception", "content"))
MAX_SECONDS, MAX_BYTES = 10.0, 1 << 30


def write_corpus(folder: Path, videos: int, sentences: bool) -> None:
    """Write a corpus that `prepare` could have made of videos without pictures, a file of 1,024 after another."""
    settings, random = PrepareSettings(), np.random.default_rng(0)
    (folder / SHARDS).mkdir(parents=True)
    shards, chosen = [], []
    for start in range(0, videos, settings.shard_size):
        ids = [f"video-{n:09d}" for n in range(start, min(start + settings.shard_size, videos))]
        columns: dict[str, Any] = {name: pa.nulls(len(ids), SCHEMA.field(name).type) for name in SCHEMA.names}
        columns |= {"doc_id": ids, "title": [f"the title of {doc_id}" for doc_id in ids]}
        for modality in Modality:
            digits = random.bytes(16 * len(ids)).hex()
            columns[f"hash_{modality.value}"] = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        name = f"{start:09d}.parquet"
        size = settings.row_group_size
        options = {"use_dictionary": False, "write_page_checksum": True, "compression": "ZSTD"}
        pq.write_table(pa.table(columns, schema=SCHEMA), folder / SHARDS / name, row_group_size=size, **options)
        shards.append(_shard(folder / SHARDS / name, len(ids)))
        if sentences:
            rows = [KeySentences(doc_id, f"{doc_id} says this.\nAnd that.", "greedy") for doc_id in ids]
            (folder / "sentences").mkdir(exist_ok=True)
            write_key_sentences(folder / "sentences" / name, rows, size)
            chosen.append(_shard(folder / "sentences" / name, len(ids)))
    Manifest(settings, tuple(shards), {}, {}, tuple(chosen)).write(folder)


def _shard(path: Path, rows: int) -> Shard:
    return Shard(path.name, rows, path.stat().st_size, hash_file(path), hash_bytes(path.read_bytes()))


def write_index(index: Path, corpus: PreparedCorpus, corpus_hash: str) -> None:
    """Publish vectors of every video of a corpus."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((1024, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as tower, GenerationWriter(index, SPACES) as writer:
        for doc_ids, contents in corpus.content_blocks():
            some = Embedded(vectors[: len(doc_ids)], np.ones(len(doc_ids), np.bool_))
            writer.add(doc_ids, {space.name: some for space in SPACES}, contents)
        rows = [{"name": s.name, "dim": 64, "fingerprint": s.fingerprint, "output": s.name} for s in SPACES]
        (Path(tower) / "query_tower.json").write_text(
            json.dumps({"format_version": 2, "max_length": 8, "spaces": [row | {"num_codes": 1} for row in rows]})
        )
        writer.publish(query_tower=Path(tower), source={"corpus_hash": corpus_hash})


def measured(corpus: Path, index: Path) -> dict[str, Any]:
    """Refresh in a process of its own; give its seconds and peak memory."""
    command = [sys.executable, __file__, "--child", str(corpus), str(index)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def child(corpus: Path, index: Path) -> None:
    """Refresh and print what it took."""
    import torch  # noqa: F401 (its memory counts)

    from serving.refresh import refresh
    from serving.settings import RefreshSettings

    class Encoder:
        spaces = SPACES

        def encode(self, videos: object) -> dict[str, Embedded]:
            raise AssertionError("a refresh that has nothing to do embeds nothing")

    encoder = Encoder()
    before = _peak()
    start, spent = time.perf_counter(), time.process_time()
    done = refresh(PreparedCorpus.open(corpus), encoder, encoder.encode, index, RefreshSettings())
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    assert not done.published
    counted = done.plan.counts.unchanged
    print(json.dumps({"seconds": seconds, "cpu": spent, "peak": _peak(), "before": before, "unchanged": counted}))


def _peak() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def measure(folder: Path, videos: int, sentences: bool) -> dict[str, dict[str, Any]]:
    """Give what both kinds of no-op take."""
    start = time.perf_counter()
    write_corpus(folder / "corpus", videos, sentences)
    corpus = PreparedCorpus.open(folder / "corpus")
    found = {}
    for name, corpus_hash in (("same corpus", corpus.content_hash), ("video by video", "another")):
        write_index(folder / "index", corpus, corpus_hash)
        print(f"{name}: made after {time.perf_counter() - start:.0f} s", file=sys.stderr)
        found[name] = measured(folder / "corpus", folder / "index")
    return found


def show(found: dict[str, dict[str, Any]], videos: int) -> None:
    """Print both, and the line for programs."""
    for name, row in found.items():
        assert row["unchanged"] == videos
        print(
            f"{name}: {row['seconds']:.2f} s ({row['cpu']:.2f} s of a core), peak {row['peak'] / 2**20:,.0f} MiB, "
            f"of which {row['before'] / 2**20:,.0f} MiB were there before (Python, torch)"
        )
    row = found["video by video"]
    line = {
        "name": "refresh_noop",
        "value": round(row["seconds"], 2),
        "unit": f"s for {videos:,} videos",
        "cpu_s": round(row["cpu"], 2),
        "peak_mib": round(row["peak"] / 2**20),
        "target": f"<= {MAX_SECONDS:g} s and < {MAX_BYTES >> 20} MiB for 1,000,000",
        "met": row["seconds"] <= MAX_SECONDS and row["peak"] < MAX_BYTES,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--sentences", action="store_true", help="every video has key sentences")
    parser.add_argument("--folder", type=Path, help="where to make corpus and index; a temporary one is the default")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        show(measure(Path(folder), given.videos, given.sentences), given.videos)


if __name__ == "__main__":
    main()
