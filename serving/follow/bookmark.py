"""What a follower remembers beside the index: from where to read again when a whole refresh publishes another base."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.files import hash_bytes, read_json, write_json
from serving.follow.stream import Position, Stream

log = logging.getLogger(__name__)


def folder_of(index_dir: Path, stream: str) -> Path:
    """Give the folder where the follower of a stream keeps what it needs."""
    return index_dir / "follow" / hash_bytes(stream.encode())[:16]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a stream is known to be in the index.

    Args:
        generation: the generation of which `position` tells.
        position: everything up to here is in that generation.
        since: everything up to here is in every corpus that a refresh will ever read. What comes after is read again
            when a refresh publishes a base.
    """

    generation: str | None = None
    position: Position | None = None
    since: Position | None = None

    @classmethod
    def read(cls, folder: Path) -> Bookmark:
        """Read it; where there is none, or it is damaged, the stream is read again from the beginning, if need be."""
        path = folder / "bookmark.json"
        if not path.exists():
            return cls()
        try:
            found = read_json(path)
            generation, position, since = found["generation"], found["position"], found["since"]
            if all(isinstance(value, dict | None) for value in (position, since)):
                return cls(str(generation), position, since)
            raise TypeError("a position is no object")
        except (DataError, KeyError, TypeError) as error:
            log.warning("%s: cannot be used, so more of the stream may be read again than need be: %s", path, error)
            return cls()

    def write(self, folder: Path) -> None:
        """Write it, durably. An older one costs time, and nothing else."""
        value = {"generation": self.generation, "position": self.position, "since": self.since}
        write_json(folder / "bookmark.json", value)


def lost(stream: Stream, mark: Bookmark, read_to: Position | None) -> str | None:
    """Tell what may be missing in the index, when a stream is to be read again after a refresh.

    Args:
        stream: the stream.
        mark: where it stands in what is served now.
        read_to: how far it was read before.

    Returns:
        A line for people; None = it is not read again, or both ends of what is read again are still there.
    """
    if read_to is None or mark.position != mark.since or read_to == mark.since:
        return None
    gone = stream.gone(mark.since) or stream.gone(read_to)
    return gone and f"{gone} was removed: changes since the last refresh may be missing until a table holds them"
