"""What was read of a stream and is not done yet: how far the stream is done, and which change of a video counts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from serving.follow.stream import Entry, Position


@dataclass(slots=True, eq=False)
class Ticket:
    """An entry on its way.

    Args:
        number: counts the entries that were read.
        entry: the entry.
        doc_id: its video; None where it could not be read.
        read_at: when it was read, by the follower's clock.
        is_settled: whether nothing more is to be done for it but to publish.
    """

    number: int
    entry: Entry
    doc_id: str | None
    read_at: float
    is_settled: bool = False


class Ledger:
    """Entries in the order of the stream. They are settled in any order; the position follows the first unsettled one.

    So a video that takes long holds back the position, not the changes behind it: when these are visible before, and
    the follower is killed, they are read again, and found to be visible already.
    """

    def __init__(self) -> None:
        self._open: deque[Ticket] = deque()
        self._latest: dict[str, int] = {}
        self._number = 0
        self.num_bytes = 0
        self.position: Position | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def oldest_arrived(self) -> float | None:
        """When the first entry that is not settled arrived; None = all are."""
        return self._open[0].entry.arrived if self._open else None

    def restart(self, position: Position | None) -> None:
        """Forget what is on its way: it is read again from a position, or not needed."""
        self._open.clear()
        self._latest.clear()
        self.num_bytes = 0
        self.position = position

    def take(self, entry: Entry, doc_id: str | None, now: float) -> Ticket:
        """Note an entry that was read. From now on, the changes of its video before it no longer count."""
        self._number += 1
        ticket = Ticket(self._number, entry, doc_id, now)
        self._open.append(ticket)
        self.num_bytes += entry.num_bytes
        if doc_id is not None:
            self._latest[doc_id] = ticket.number
        return ticket

    def counts(self, ticket: Ticket) -> bool:
        """Tell whether an entry is the last one that was read of its video."""
        return ticket.doc_id is not None and self._latest.get(ticket.doc_id) == ticket.number

    def settle(self, ticket: Ticket) -> None:
        """Note that an entry is done, and move the position on."""
        ticket.is_settled = True
        while self._open and self._open[0].is_settled:
            first = self._open.popleft()
            self.position = first.entry.position
            self.num_bytes -= first.entry.num_bytes
            if first.doc_id is not None and self._latest.get(first.doc_id) == first.number:
                del self._latest[first.doc_id]
