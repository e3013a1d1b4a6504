"""The loop of a follower: read, prepare, embed, publish; again and again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmsearch.data.contents import contents_of
from mmsearch.data.schema import RowError
from mmsearch.errors import CorruptIndexError, DataError, IntegrityError
from mmsearch.index.layout import read_current
from mmsearch.index.lock import BusyIndexError
from mmsearch.types import Space
from serving.follow.bookmark import Bookmark, lost
from serving.follow.change import ChangeReader
from serving.follow.changes import Changes
from serving.follow.events import Broken, Encoded, Event, Failed, Prepared
from serving.follow.ledger import Ledger
from serving.follow.overlay import MovedError, publish_compacted, publish_overlay
from serving.follow.pace import Pace
from serving.follow.pipeline import Pipeline
from serving.follow.rejects import Rejects, error_of
from serving.follow.served import Served
from serving.follow.settings import FollowSettings
from serving.follow.status import Status
from serving.follow.stream import Entry, Position, Stream
from serving.follow.superseded import Superseded

log = logging.getLogger(__name__)

#: Size of what was read and is on its way, beyond which nothing more is read.
_MAX_BYTES = 256 * 2**20


class Follower:
    """Brings the changes of a stream into an index.

    What is true stands in the index: each overlay says how far the stream is in it, so a kill at any moment loses
    nothing, and what is read again after it is found to be there already. A refresh that publishes a base meanwhile is
    noticed; what that base lacks is then read again.

    Args:
        index_dir: the index.
        folder: where the follower keeps its bookmark.
        spaces: of the document tower.
        stream: what is followed.
        reader: understands its entries.
        pipeline: prepares and embeds; its `counts` is that of the ledger.
        ledger: what is on its way.
        rejects: where bad changes go.
        settings: delays and bounds.
        status: is told how it goes.
        clock: gives the time in seconds; it never goes back.
    """

    def __init__(
        self,
        index_dir: Path,
        folder: Path,
        spaces: Sequence[Space],
        stream: Stream,
        reader: ChangeReader,
        pipeline: Pipeline,
        ledger: Ledger,
        rejects: Rejects,
        settings: FollowSettings,
        status: Status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index_dir, self._folder, self._spaces = index_dir, folder, spaces
        self._stream, self._reader, self._pipeline = stream, reader, pipeline
        self._ledger, self._rejects, self._settings = ledger, rejects, settings
        self._status, self._clock = status, clock
        self._changes, self._pace = Changes(), Pace(settings.max_delay_s)
        self._kept = Bookmark.read(folder)
        self._uncompactable: Served | None = None
        self._since: Position | None = None
        self._base = ""
        self._attach()

    @property
    def generation(self) -> str:
        """The generation that is served, as far as the follower knows."""
        return self._served.generation

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set; then publish what was read, as far as `stop_s` allows.

        Raises:
            MmsearchError: it cannot go on: the index is damaged or of another model by now, a library or model is
                absent, the stream's files were changed, the disk refuses.
        """
        while not stop.is_set():
            wait_s = self.step()
            if wait_s > 0 and not stop.is_set():
                wait = self._stream.wait if self._room > 0 else time.sleep
                wait(min(wait_s, self._settings.poll_s))
        self._drain()
        self._tell()

    def _drain(self) -> None:
        """Publish what was read, as far as time allows; the rest is read again by the next follower."""
        until = self._clock() + self._settings.stop_s
        while (len(self._ledger) or len(self._changes)) and self._served.is_current and self._clock() < until:
            self._hear()
            if not len(self._ledger):
                self._publish()
            time.sleep(min(0.01, self._settings.poll_s))
        if len(self._changes) and self._served.is_current:
            self._publish()

    def step(self) -> float:
        """Do what there is to do now; give the seconds for which there is nothing more, as far as is known."""
        if not self._served.is_current:
            log.info("%s: another generation was published; reading again what it lacks", self._index_dir)
            self._attach()
        more = self._read()
        self._hear()
        wait_s = self._pace.wait_s(self._clock(), self._changes.oldest_read_at, has_deletes=self._changes.has_deletes)
        if wait_s == 0:
            self._publish()
        if not len(self._changes):
            self._since = self._served.next_since(self._stream.name, self._ledger.position, self._since)
            self._compact()
        if self._status.is_due:
            self._tell()
        return 0.0 if more else wait_s or self._settings.poll_s

    def _attach(self) -> None:
        """Look at what is served, and go on from where the stream is in it."""
        read_to = self._ledger.position or self._kept.position
        self._served = self._open()
        mark = self._served.bookmark(self._stream.name, self._kept)
        self._since, gone = mark.since, lost(self._stream, mark, read_to)
        if gone is not None:
            log.error("%s", gone)
        if gone is not None or self._base != self._served.base.generation:  # else followers of other streams publish
            self._status.lost, self._base = gone, self._served.base.generation
        self._start_from(mark.position)

    def _start_from(self, position: Position | None) -> None:
        self._changes.clear()
        self._ledger.restart(position)
        self._stream.seek(position)
        self._superseded = Superseded(self._stream.backlog(), self._reader)

    def _open(self) -> Served:
        while True:
            current = read_current(self._index_dir)
            try:
                return Served(self._index_dir, self._spaces)
            except IntegrityError:
                if read_current(self._index_dir) == current:  # else it was replaced while it was opened
                    raise

    def _read(self) -> bool:
        """Read as far ahead as is allowed; tell whether there may be more."""
        room = self._room
        entries = self._stream.read(room) if room > 0 else []
        for entry in entries:
            self._take(entry)
        return 0 < room == len(entries)

    @property
    def _room(self) -> int:
        if self._ledger.num_bytes > _MAX_BYTES:
            return 0
        return self._settings.max_waiting - len(self._ledger) - len(self._changes)

    def _take(self, entry: Entry) -> None:
        try:
            change = self._reader.read(entry)
        except RowError as error:
            self._reject(entry, error)
            self._ledger.settle(self._ledger.take(entry, None, self._clock()))
            return
        if self._superseded.holds(entry, change.doc_id):
            self._ledger.settle(self._ledger.take(entry, None, self._clock()))
            return
        ticket = self._ledger.take(entry, change.doc_id, self._clock())
        if change.video is not None:
            self._pipeline.prepare(ticket, change.video)
            return
        if self._served.has(change.doc_id):
            self._changes.put(ticket, None)
        else:  # it never became visible
            self._changes.drop(change.doc_id)
        self._ledger.settle(ticket)

    def _reject(self, entry: Entry, error: RowError) -> None:
        if self._rejects.add(entry, error):
            self._status.rejected += 1
            log.warning("%s (listed in %s)", error_of(entry, error), self._rejects.path)

    def _hear(self) -> None:
        for event in self._pipeline.events():
            if isinstance(event, Broken):
                raise event.error
            if not self._ledger.counts(event.ticket) or not self._on(event):
                self._ledger.settle(event.ticket)

    def _on(self, event: Event) -> bool:
        """Take the next step with a video; tell whether it is still on its way."""
        if isinstance(event, Prepared):
            entry = event.ticket.entry
            for rejection in event.rejections:
                self._reject(entry, RowError(rejection.modality, f"{rejection.reason}: {rejection.detail}"))
            if event.video is None:
                return False
            doc_id = event.video.doc_id
            known = self._changes.contents(doc_id) if doc_id in self._changes else self._served.contents(doc_id)
            if known is not None and np.array_equal(known, contents_of([event.video])[0]):
                return False
            self._pipeline.embed(event.ticket, event.video)
            return True
        if isinstance(event, Failed):
            self._reject(event.ticket.entry, RowError(None, f"{event.reason}: {event.detail}"))
        elif isinstance(event, Encoded):
            self._changes.put(event.ticket, event.row)
        return False

    def _publish(self) -> None:
        """Publish what is ready; when that cannot be now, the next step tries again."""
        if not len(self._changes):
            return
        start, told = self._clock(), {"position": self._ledger.position, "since": self._since}
        rows, arrived = self._changes.rows, self._changes.oldest_arrived or time.time()
        try:
            name = publish_overlay(
                self._index_dir, self._served, rows, {**self._served.streams, self._stream.name: told}
            )
        except BusyIndexError as error:
            self._wait_for(error)
            return
        except MovedError:
            return
        except CorruptIndexError as error:
            self._start_over(error)
            return
        self._pace.took(self._clock() - start)
        self._status.published(len(rows), time.time() - arrived)
        self._changes.clear()
        self._follow(name)

    def _follow(self, name: str) -> None:
        """Go on from a generation that was published here."""
        self._served = self._open()
        if self._served.generation != name:  # somebody was quick
            self._attach()
        elif self._ledger.position is not None:
            self._stream.done(self._ledger.position)

    def _compact(self) -> None:
        """Merge the overlay into a new base when it has grown large, and nothing else is to be done."""
        served, share = self._served, self._settings.compact_above
        if share is None or served.num_overlay_rows <= share * served.base.num_rows or served == self._uncompactable:
            return
        start = self._clock()
        try:
            name = publish_compacted(self._index_dir, served)
        except BusyIndexError as error:
            self._wait_for(error)
            return
        except MovedError:
            return
        except (CorruptIndexError, DataError) as error:
            log.error("the overlay cannot be merged into its base: %s", error)
            self._uncompactable = served
            return
        log.info("merged %d rows into a new base in %.1f s", served.num_overlay_rows, self._clock() - start)
        self._follow(name)

    def _wait_for(self, error: BusyIndexError) -> None:
        if self._status.busy is None:
            log.warning("changes have to wait: %s", error)
        self._status.busy = str(error)

    def _start_over(self, error: CorruptIndexError) -> None:
        """Make a damaged overlay again from the stream."""
        log.error("the overlay is damaged, and made again from the stream: %s", error)
        self._served.forget_overlay()
        self._start_from(self._since)

    def _tell(self) -> None:
        now = time.time()
        arrived = [at for at in (self._changes.oldest_arrived, self._ledger.oldest_arrived) if at is not None]
        lag_s = max(0.0, now - min(arrived, default=now))
        waiting = len(self._ledger) + len(self._changes)
        self._status.tell(lag_s=lag_s, waiting=waiting, generation=self.generation)
        mark = Bookmark(self.generation, self._ledger.position, self._since)
        if not len(self._changes) and mark != self._kept:  # what is settled is visible
            mark.write(self._folder)
            self._kept = mark
            if mark.position is not None:
                self._stream.done(mark.position)
