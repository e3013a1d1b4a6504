"""The work of `mmsearch prepare` cut into shards, each with a key that tells whether its stored result still holds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from mmsearch.data.manifest import SHARDS, Shard
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import RECIPE_VERSION, Rejection
from mmsearch.errors import DataError
from mmsearch.files import hash_bytes, read_json, write_json
from mmsearch.types import Video

_OURS = re.compile(r"\.?\d{6}-[0-9a-f]{16}\.(parquet|json)(\.[0-9a-f]{32}\.tmp)?")


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Rows of the table that go into one file.

    Args:
        number: place of the shard.
        rows: the rows.
        key: hash of the rows, of the size and time of change of every file that they name, and of the settings.
    """

    number: int
    rows: tuple[Video, ...]
    key: str

    @property
    def stem(self) -> str:
        """File name without ending; it holds the key, so that no file of an older run is ever changed."""
        return f"{self.number:06d}-{self.key[:16]}"


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard came to. `shard` is None when every row was rejected."""

    key: str
    num_rows: int
    shard: Shard | None
    modalities: dict[str, int]
    rejections: tuple[Rejection, ...]

    def write(self, folder: Path, stem: str) -> None:
        """Write the record beside the file: from then on the shard is done."""
        write_json(folder / SHARDS / f"{stem}.json", asdict(self))


def plan_shards(videos: Iterable[Video], settings: PrepareSettings) -> Iterator[ShardPlan]:
    """Cut the rows into shards, in order; memory holds one of them."""
    recipe = json.dumps([RECIPE_VERSION, settings.for_shards()], sort_keys=True).encode()
    source = iter(videos)
    number = 0
    while rows := tuple(islice(source, settings.shard_size)):
        key = hash_bytes(recipe, *(_row_key(video) for video in rows))
        yield ShardPlan(number, rows, key)
        number += 1


def _row_key(video: Video) -> bytes:
    files = (video.cover, video.video, *(video.frames or ()), video.asr)
    return "\0".join([repr(video), *(_stamp(file) for file in files if file)]).encode()


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # not there; or a transcript, which is no path
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def stored_result(folder: Path, plan: ShardPlan) -> ShardResult | None:
    """Give the result of an earlier run for the same rows, files and settings; None = there is none."""
    try:
        record = read_json(folder / SHARDS / f"{plan.stem}.json")
        shard = None if record["shard"] is None else Shard(**record["shard"])
        rejections = tuple(Rejection(**rejection) for rejection in record["rejections"])
        result = ShardResult(record["key"], record["num_rows"], shard, record["modalities"], rejections)
    except (DataError, KeyError, TypeError):
        return None
    if result.key != plan.key or (shard is not None and _size(folder / SHARDS / shard.name) != shard.bytes):
        return None
    return result


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def remove_strays(folder: Path, stems: set[str]) -> None:
    """Remove the shards of older runs and what killed ones left; files with other names are not touched."""
    for path in (folder / SHARDS).iterdir():
        if _OURS.fullmatch(path.name) and (path.suffix == ".tmp" or path.stem not in stems):
            path.unlink()
    for name in ("corpus.json", "rejected.jsonl", "rejected_rows.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()
