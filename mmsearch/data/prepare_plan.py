"""The work of `mmsearch prepare` cut into shards, each with a key that tells whether its stored result still holds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from mmsearch.data.manifest import SHARDS, Shard
from mmsearch.data.media import local_path
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import RECIPE_VERSION, Rejection
from mmsearch.data.transcripts import TRANSCRIPT_VERSION, is_transcript_file
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
        row_keys: for each row a hash of itself, its files and the settings, 16 hex digits.
        key: hash of the rows, of the size and time of change of every file that they name, and of the settings.
        avoided: checksum of a file for these rows that must stay while another one is made; "" = there is none.
    """

    number: int
    rows: tuple[Video, ...]
    row_keys: tuple[str, ...]
    key: str
    avoided: str = ""

    @property
    def stem(self) -> str:
        """File name without ending; it holds the key, so that no file of an older run is ever changed."""
        return f"{self.number:06d}-{self.key[:16]}"

    @property
    def file_name(self) -> str:
        """Name of the Parquet file."""
        stem = f"{self.number:06d}-{hash_bytes(self.stem.encode(), self.avoided.encode())[:16]}"
        return f"{stem if self.avoided else self.stem}.parquet"


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard came to. `shard` is None when every row was rejected; an older record has no `row_keys`."""

    key: str
    num_rows: int
    shard: Shard | None
    modalities: dict[str, int]
    rejections: tuple[Rejection, ...]
    row_keys: tuple[str, ...] = ()

    @property
    def has_failures(self) -> bool:
        """Whether a worker did not get through one of the videos."""
        return any(rejection.is_failure for rejection in self.rejections)

    def write(self, folder: Path, stem: str) -> None:
        """Write the record beside the file: from then on the shard is done."""
        write_json(folder / SHARDS / f"{stem}.json", asdict(self))


def plan_shards(videos: Iterable[Video], settings: PrepareSettings) -> Iterator[ShardPlan]:
    """Cut the rows into shards, in order; memory holds one of them."""
    recipe = json.dumps([RECIPE_VERSION, settings.for_shards()], sort_keys=True).encode()
    source = iter(videos)
    number = 0
    while rows := tuple(islice(source, settings.shard_size)):
        stamped = [_row_key(video) for video in rows]
        row_keys = tuple(hash_bytes(recipe, stamp)[:16] for stamp in stamped)
        yield ShardPlan(number, rows, row_keys, hash_bytes(recipe, *stamped))
        number += 1


def _row_key(video: Video) -> bytes:
    files = (video.cover, video.video, *(video.frames or ()), video.asr)
    subtitles = [f"subtitles {TRANSCRIPT_VERSION}"] if video.asr and is_transcript_file(video.asr) else []
    return "\0".join([repr(video), *(_stamp(file) for file in files if file), *subtitles]).encode()


def _stamp(path: str) -> str:
    try:
        status = os.stat(local_path(path))
    except (OSError, ValueError):  # not there; or a transcript, which is no path
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def stored_result(folder: Path, plan: ShardPlan) -> ShardResult | None:
    """Give the result of an earlier run for the same rows, files and settings; None = there is none."""
    result = read_result(folder / SHARDS / f"{plan.stem}.json")
    if result is None or result.key != plan.key:
        return None
    if not result.row_keys:  # an older mmsearch wrote it
        result = replace(result, row_keys=plan.row_keys)
        result.write(folder, plan.stem)
    return result


def read_result(path: Path) -> ShardResult | None:
    """Read a record; None = there is none that can be read, or its file is not whole."""
    try:
        record = read_json(path)
        shard = None if record["shard"] is None else Shard(**record["shard"])
        rejections = tuple(Rejection(**rejection) for rejection in record["rejections"])
        keys = tuple(record.get("row_keys", ()))
        result = ShardResult(record["key"], record["num_rows"], shard, record["modalities"], rejections, keys)
    except (DataError, KeyError, TypeError):
        return None
    return result if shard is None or _size(path.parent / shard.name) == shard.bytes else None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def remove_strays(folder: Path, stems: set[str], names: set[str]) -> None:
    """Remove the shards of older runs and what killed ones left; files with other names are not touched.

    Args:
        folder: of the corpus.
        stems: of the records that stay.
        names: of the shards that stay.
    """
    for path in (folder / SHARDS).iterdir():
        is_kept = path.name in names or (path.suffix == ".json" and path.stem in stems)
        if _OURS.fullmatch(path.name) and not is_kept:
            path.unlink()
    for name in ("corpus.json", "rejected.jsonl", "rejected_rows.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()
