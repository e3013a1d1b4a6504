"""Settings of a follower."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mmsearch.config import Settings


class FollowSettings(Settings):
    """How a stream of changed videos is followed."""

    model: Path | None = None
    """Folder of the model that the index was refreshed with; the option `--model` goes first."""
    index: Path | None = None
    """Folder of the forward index, in which something was published; the option `--index` goes first."""
    source: str | None = None
    """What is followed: a folder of .jsonl files, or `redis://HOST:PORT/DB?stream=NAME`; `--source` goes first."""
    corpus: Path | None = None
    """Prepared corpus that the index was refreshed from: rows are prepared as it was; `--corpus` goes first. Null:
    as the index tells."""
    table_settings: Path | None = None
    """A YAML file of PrepareSettings to prepare rows with instead; the option `--table-settings` goes first."""
    max_delay_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds from the arrival of a change to its visibility; changes are collected within it, deletes never wait."""
    compact_above: Annotated[float, Field(gt=0)] | None = 0.1
    """Merge the overlay into a new base when it holds more rows than this share of the base's; null = never."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Most videos embedded at once."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`."""
    num_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that decode; a video that hangs keeps one of them busy until its time is over."""
    max_waiting: Annotated[int, Field(ge=1)] = 1024
    """Changes that are read ahead of what is visible. It bounds the memory for what waits."""
    poll_s: Annotated[float, Field(gt=0)] = 0.2
    """How often a folder is looked at for new lines, and a busy index for its lock."""
    status_every_s: Annotated[float, Field(gt=0)] = 10.0
    """How often the log tells the lag and the rate, where there is no terminal."""
    stop_s: Annotated[float, Field(ge=0)] = 10.0
    """After SIGTERM, how long what was read may take to become visible; the rest is read again by the next follower."""
    media_root: Path | None = None
    """Folder that relative paths of a row are under; null = that of the stream's files, or the working folder."""
    name: str | None = None
    """Name under which the index remembers the position in the stream; null = where the stream is. It keeps the
    position when the stream moves."""
    sentence_frequencies: Path | None = None
    """How often terms occur, for the key sentences; null = as counted over the prepared corpus."""
