"""What is ready and not visible yet: the next publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmsearch.index.ids import UInt64
from serving.follow.events import Row
from serving.follow.ledger import Ticket


@dataclass(frozen=True, slots=True)
class _Ready:
    row: Row | None
    read_at: float
    arrived: float


class Changes:
    """The last row of every video that changed since the last publication; None = it is deleted."""

    def __init__(self) -> None:
        self._ready: dict[str, _Ready] = {}

    def __len__(self) -> int:
        return len(self._ready)

    def __contains__(self, doc_id: object) -> bool:
        return doc_id in self._ready

    def put(self, ticket: Ticket, row: Row | None) -> None:
        """Note a video's new row. A change before it that was not published yet keeps its place in the queue."""
        assert ticket.doc_id is not None  # noqa: S101 (for the type checker)
        before = self._ready.get(ticket.doc_id)
        read_at, arrived = ticket.read_at, ticket.entry.arrived
        if before is not None:
            read_at, arrived = min(read_at, before.read_at), min(arrived, before.arrived)
        self._ready[ticket.doc_id] = _Ready(row, read_at, arrived)

    def drop(self, doc_id: str) -> None:
        """Forget a change of a video that is not wanted any more."""
        self._ready.pop(doc_id, None)

    def clear(self) -> None:
        """Forget all: they are published, or have to be made again."""
        self._ready.clear()

    def contents(self, doc_id: str) -> UInt64 | None:
        """Give the content hashes of a new row, [8]; None when there is none."""
        ready = self._ready.get(doc_id)
        return None if ready is None or ready.row is None else ready.row.contents[0]

    @property
    def rows(self) -> Mapping[str, Row | None]:
        """The rows by id."""
        return {doc_id: ready.row for doc_id, ready in self._ready.items()}

    @property
    def oldest_read_at(self) -> float | None:
        """When the first of them was read."""
        return min((ready.read_at for ready in self._ready.values()), default=None)

    @property
    def oldest_arrived(self) -> float | None:
        """When the first of them arrived."""
        return min((ready.arrived for ready in self._ready.values()), default=None)

    @property
    def has_deletes(self) -> bool:
        """Whether one of them is a delete."""
        return any(ready.row is None for ready in self._ready.values())
