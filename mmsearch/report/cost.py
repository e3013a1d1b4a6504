"""What serving costs: time of a call, bytes of a video."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsearch.index import ForwardIndex
from mmsearch.index.layout import (
    QUERY_TOWER,
    blocks_file,
    generations_of,
    ids_files,
    present_file,
    scales_file,
    vectors_file,
)
from mmsearch.index.manifest import Manifest, read_manifest
from mmsearch.report.scores import Scores


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one call of `FeatureScorer.score`: query tower, look-up and scores; no query was seen before.

    Args:
        num_calls: number of calls.
        candidates: median number of scored videos of a call.
        p50_ms: half of the calls were quicker.
        p99_ms: 99 % of the calls were quicker.
    """

    num_calls: int
    candidates: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class SpaceCost:
    """A space on the disk: vectors a video, their components, and bytes a video (all of its files)."""

    name: str
    num_codes: int
    dim: int
    dtype: str
    bytes_per_video: float
    present: float


@dataclass(frozen=True, slots=True)
class Storage:
    """The index on the disk.

    Args:
        num_videos: videos in it.
        spaces: its spaces.
        ids_per_video: bytes a video for the table of ids.
        query_tower: bytes of the query tower.
        total: bytes of all files.
    """

    num_videos: int
    spaces: tuple[SpaceCost, ...]
    ids_per_video: float
    query_tower: int
    total: int

    @property
    def bytes_per_video(self) -> float:
        """Bytes a video takes in all spaces and in the table of ids."""
        return sum(space.bytes_per_video for space in self.spaces) + self.ids_per_video


def latency(scores: Scores) -> Latency:
    """Sum up the measured calls."""
    p50, p99 = (float(value) * 1e3 for value in np.quantile(scores.seconds, [0.5, 0.99]))
    return Latency(len(scores.seconds), float(np.median(scores.num_candidates)), p50, p99)


def storage(index_dir: Path, index: ForwardIndex) -> Storage:
    """Read from the manifests what the generation takes; with its base, when it is an overlay."""
    manifest = manifest_of(index_dir, index)
    sizes = Counter({name: stored.bytes for name, stored in manifest.files.items()})
    if index.base is not None:
        below = read_manifest(generations_of(index_dir) / index.base, index.base)
        sizes.update({name: stored.bytes for name, stored in below.files.items()})
    videos = max(index.num_docs, 1)
    spaces = []
    for space in manifest.spaces:
        taken = sum(sizes[of(space.name)] for of in (vectors_file, scales_file, present_file, blocks_file))
        present = np.count_nonzero(index.present(space.name)) / videos
        spaces.append(SpaceCost(space.name, space.num_codes, space.dim, space.dtype, taken / videos, float(present)))
    tower = sum(size for name, size in sizes.items() if name.startswith(f"{QUERY_TOWER}/"))
    ids = sum(sizes[name] for name in ids_files()) / videos
    return Storage(index.num_docs, tuple(spaces), ids, tower, sum(sizes.values()))


def manifest_of(index_dir: Path, index: ForwardIndex) -> Manifest:
    """Give the manifest of the generation that is open."""
    return read_manifest(generations_of(index_dir) / index.generation, index.generation)
