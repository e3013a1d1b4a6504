"""A prepared corpus of texts, and a document encoder whose vectors can be foretold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mmsearch.data.manifest import SHARDS, Manifest, Shard
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.shards import ShardWriter
from mmsearch.files import hash_bytes, hash_file
from mmsearch.protocols import Embedded, PreparedVideo
from mmsearch.types import Modality, Space

SHARD_SIZE = 16


def vector_of(video: PreparedVideo, space: Space) -> np.ndarray:
    seed = hashlib.sha256(f"{space.name} {space.fingerprint} {video.texts[Modality.TITLE]}".encode()).digest()
    codes = np.random.default_rng(list(seed)).standard_normal((space.num_codes, space.dim))
    return (codes / np.linalg.norm(codes, axis=1, keepdims=True)).astype(np.float32).reshape(-1)


def write_query_tower(folder: Path, spaces: Sequence[Space]) -> None:
    """Write the part of a query tower that the index reads."""
    folder.mkdir(parents=True)
    rows = [asdict(space) | {"output": space.name} for space in spaces]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": rows}))


class Encoder:
    """Vectors by hash of the title. Every fifth video has no cover. Counts what it was asked."""

    def __init__(self, weights: str = "1", num_codes: int = 1) -> None:
        self.spaces = (Space("cover", 4, f"cover-{weights}"), Space("content", 8, f"content-{weights}", num_codes))
        self.asked: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def encode(self, videos: Sequence[PreparedVideo]) -> dict[str, Embedded]:
        self.before()
        self.asked += [video.doc_id for video in videos]
        present = {"content": [True] * len(videos), "cover": [int(video.doc_id[1:]) % 5 != 0 for video in videos]}
        return {
            space.name: Embedded(np.stack([vector_of(v, space) for v in videos]), np.array(present[space.name]))
            for space in self.spaces
        }

    def export(self, folder: Path) -> None:
        write_query_tower(folder, self.spaces)


def write_corpus(folder: Path, titles: Sequence[str] | Mapping[str, str], size: int = SHARD_SIZE) -> PreparedCorpus:
    """Write a prepared corpus of videos that have a title and nothing else; titles without ids are of `v0`, `v1` …"""
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    shards = []
    given = list(titles.items()) if isinstance(titles, Mapping) else [(f"v{i}", t) for i, t in enumerate(titles)]
    for start in range(0, len(given), size):
        path = folder / SHARDS / f"{start:06d}.parquet"
        with ShardWriter(path, 8) as writer:
            for doc_id, title in given[start : start + size]:
                hashes = {Modality.TITLE: hash_bytes(title.encode())}
                writer.add(PreparedVideo(doc_id, {Modality.TITLE: title}, None, (), hashes))
            writer.flush()
        shards.append(Shard(path.name, writer.rows, path.stat().st_size, hash_file(path), writer.key))
    Manifest(PrepareSettings(row_group_size=8, image_size=32), tuple(shards), {}, {}).write(folder)
    return PreparedCorpus.open(folder)


def read_served(index_dir: Path) -> dict[str, bytes]:
    """Give the bytes of every array of the served generation."""
    folder = index_dir / "generations" / (index_dir / "CURRENT").read_text().strip()
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.fixture
def new_encoder() -> type[Encoder]:
    return Encoder


@pytest.fixture
def new_corpus(tmp_path: Path) -> Callable[..., PreparedCorpus]:
    """Write the corpus with these titles (over the one before)."""
    return lambda titles, size=SHARD_SIZE: write_corpus(tmp_path / "corpus", titles, size)


@pytest.fixture
def query_tower() -> Callable[[Path, Sequence[Space]], None]:
    """Write a query tower that serves for publishing: exporting a real one takes seconds."""
    return write_query_tower


@pytest.fixture
def served_bytes() -> Callable[[Path], dict[str, bytes]]:
    return read_served


@pytest.fixture
def expected_vectors() -> Callable[[PreparedCorpus, Encoder, str], np.ndarray]:
    """Give the vectors that the naive way makes: all videos, one by one."""

    def make(corpus: PreparedCorpus, encoder: Encoder, name: str) -> np.ndarray:
        space = next(space for space in encoder.spaces if space.name == name)
        return np.stack([vector_of(video, space) for video in corpus.read(range(corpus.num_videos))])

    return make
