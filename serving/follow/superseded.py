"""Which entries of a long backlog are followed by a later one of the same video, so that none of them is ever shown."""

from __future__ import annotations

from collections.abc import Iterable

from mmsearch.data.schema import RowError
from serving.follow.change import ChangeReader
from serving.follow.stream import Entry

#: Ids that are kept in mind, at some 150 bytes each; of a longer backlog, versions in between may be seen for a while.
_MAX_IDS = 2_000_000


class Superseded:
    """Remembers the last entry of every video in a backlog.

    A follower that is started after a week, or that reads again what a new base lacks, would otherwise bring back for
    a moment what was replaced long ago, and embed it for nothing.

    Args:
        backlog: the entries, in order.
        reader: understands them; entries that it refuses replace nothing.
    """

    def __init__(self, backlog: Iterable[Entry], reader: ChangeReader) -> None:
        self._last: dict[str, tuple[int | str, ...]] = {}
        self._end: tuple[int | str, ...] = ()
        self.num_entries = 0
        for entry in backlog:
            self.num_entries += 1
            try:
                self._last[reader.read(entry).doc_id] = self._end = entry.order
            except RowError:
                continue
            if len(self._last) >= _MAX_IDS:
                break

    def holds(self, entry: Entry, doc_id: str) -> bool:
        """Tell whether a later entry of the same video is known. Entries are asked for in order."""
        if not self._last:
            return False
        if entry.order >= self._end:  # the backlog is over
            self._last.clear()
            return False
        return entry.order < self._last.get(doc_id, entry.order)
