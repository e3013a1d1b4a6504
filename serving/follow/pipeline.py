"""Preparing and embedding of changed videos, in threads of their own: what takes long holds up nothing else."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Self

from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import Preparation, VideoPreparer
from mmsearch.data.shard_builder import rejection_of
from mmsearch.protocols import DocumentEncoder, PreparedVideo
from mmsearch.sentences import KeySentenceExtractor
from mmsearch.types import Video
from mmsearch.workers import Pool
from serving.follow.encode import encode, with_sentences
from serving.follow.events import Broken, Dropped, Event, Prepared
from serving.follow.ledger import Ticket

#: How long a batch may take when a follower ends.
_JOIN_S = 30.0


class Pipeline:
    """Prepares videos in limited processes, chooses their key sentences, and embeds them; outcomes come as events.

    One thread stands beside each process, and one embeds: a video that hangs until its time is over keeps one process
    busy, and no other video waits for it as long as there is another. Use it from one thread, and close it.

    Args:
        settings: how videos are prepared.
        encoder: the document tower.
        sentences: chooses key sentences; None = towers read whole transcripts.
        counts: whether an entry is still the last one of its video; others are not prepared any more.
        num_workers: processes that prepare.
        batch_size: most videos embedded at once.
    """

    def __init__(
        self,
        settings: PrepareSettings,
        encoder: DocumentEncoder,
        sentences: KeySentenceExtractor | None,
        counts: Callable[[Ticket], bool],
        *,
        num_workers: int,
        batch_size: int,
    ) -> None:
        self._settings, self._encoder, self._sentences = settings, encoder, sentences
        self._counts, self._batch_size = counts, batch_size
        self._rows: queue.SimpleQueue[tuple[Ticket, Video] | None] = queue.SimpleQueue()
        self._fresh: queue.SimpleQueue[tuple[Ticket, PreparedVideo] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._num_workers = num_workers
        # daemons: one may wait for a video that hangs, and its worker dies with this process
        for number in range(num_workers):
            self._start(self._prepare_all, f"prepare-{number}")
        self._embedding = self._start(self._embed_all, "embed")

    def _start(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(work,), name=f"follow-{name}", daemon=True)
        thread.start()
        return thread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads end after what they have in hand; what waits is dropped.

        Waits for a batch that is being embedded: libraries do not like to be left in the middle of one.
        """
        self._counts = lambda _: False
        for _ in range(self._num_workers):
            self._rows.put(None)
        self._fresh.put(None)
        self._embedding.join(_JOIN_S)

    def prepare(self, ticket: Ticket, video: Video) -> None:
        """Let a video be prepared; its `Prepared` comes as an event, or its `Dropped`."""
        self._rows.put((ticket, video))

    def embed(self, ticket: Ticket, video: PreparedVideo) -> None:
        """Let a prepared video be embedded; its `Encoded`, `Failed` or `Dropped` comes as an event."""
        self._fresh.put((ticket, video))

    def events(self) -> list[Event]:
        """Give what happened since the last call."""
        found = []
        while True:
            try:
                found.append(self._events.get_nowait())
            except queue.Empty:
                return found

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._events.put(Broken(error))

    def _prepare_all(self) -> None:
        limits = {"timeout_s": self._settings.max_wall_s, "max_bytes": self._settings.max_memory_bytes}
        pool: Pool[Video, Preparation]
        with Pool(VideoPreparer(self._settings), num_workers=1, **limits) as pool:  # type: ignore[arg-type]
            for _ in pool.imap([Video("")]):  # an interpreter takes seconds to start: not those of the first change
                pass
            while (row := self._rows.get()) is not None:
                self._events.put(self._prepare(pool, *row))

    def _prepare(self, pool: Pool[Video, Preparation], ticket: Ticket, video: Video) -> Prepared | Dropped:
        if not self._counts(ticket):
            return Dropped(ticket)
        (outcome,) = pool.imap([video])
        if outcome.value is None:
            return Prepared(ticket, None, (rejection_of(video.doc_id, outcome),))
        prepared = outcome.value.video
        if prepared is not None and self._sentences is not None:
            prepared = with_sentences(prepared, self._sentences)
        return Prepared(ticket, prepared, outcome.value.rejections)

    def _embed_all(self) -> None:
        while (first := self._fresh.get()) is not None:
            batch = [first]
            while len(batch) < self._batch_size and not self._fresh.empty():
                following = self._fresh.get()
                if following is None:
                    return
                batch.append(following)
            wanted = []
            for fresh in batch:
                if self._counts(fresh[0]):
                    wanted.append(fresh)
                else:
                    self._events.put(Dropped(fresh[0]))
            for event in encode(wanted, self._encoder):
                self._events.put(event)
