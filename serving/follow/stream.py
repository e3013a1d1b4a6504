"""What a stream of changes is, and where it may come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmsearch.data.formats import Cells
from mmsearch.data.lines import Unreadable
from mmsearch.errors import ConfigError
from serving.follow.settings import FollowSettings

#: How far a stream was read: JSON values that mean something to it alone. None = nothing was read yet.
Position = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as it arrived.

    Args:
        position: of the stream behind this entry.
        where: what to name in a message: `FILE:LINE`, or the stream and the entry's id.
        cells: its cells, or why there are none.
        arrived: when it arrived, as far as the stream knows, in seconds since the epoch.
        order: greater than that of every entry before it.
        num_bytes: its size as it came.
    """

    position: Position
    where: str
    cells: Cells | Unreadable
    arrived: float
    order: tuple[int | str, ...]
    num_bytes: int


class Stream(Protocol):
    """An endless list of changes, in order, which can be read again from any position."""

    @property
    def name(self) -> str:
        """Where it is, without secrets: under this name the index remembers the position."""
        ...

    def seek(self, position: Position | None) -> None:
        """Go on behind a position; None = from the beginning."""
        ...

    def read(self, count: int) -> Sequence[Entry]:
        """Give the next entries that are there now, at most `count`; none when there are none. Never waits long.

        Fewer come where they are large.
        """
        ...

    def backlog(self) -> Iterator[Entry]:
        """Give what there is to read now, without reading it: the position stays."""
        ...

    def gone(self, position: Position | None) -> str | None:
        """Name what was read up to a position and has been removed since; None = it is there, as far as is known."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait for entries at most so long; may return early without any."""
        ...

    def done(self, position: Position) -> None:
        """Let the stream know that everything up to a position is visible, and durable."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_stream(source: str, settings: FollowSettings) -> Stream:
    """Open `redis://…`, `rediss://…`, `unix://…` or a folder of JSON Lines files.

    Raises:
        ConfigError: it is none of these.
        DataError: the server does not answer.
        MissingExtraError: the client of Redis is absent.
    """
    if source.startswith(("redis://", "rediss://", "unix://")):
        from serving.follow.redis_stream import RedisStream

        return RedisStream(source, name=settings.name)
    if "://" in source:
        raise ConfigError(f"{source}: cannot be followed; give a folder of .jsonl files, or redis://…?stream=NAME")
    from serving.follow.folder_stream import FolderStream

    return FolderStream(Path(source), name=settings.name)
