"""Scoring in a thread of its own: requests that wait together are scored together."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mmsearch.errors import DeadlineError
from mmsearch.scoring import RankFeatures
from serving.service.problems import ProblemError

_log = logging.getLogger(__name__)


class BatchScorer(Protocol):
    """What scores: a `FeatureScorer`."""

    def score(self, query: str, doc_ids: Sequence[str], *, deadline_s: float | None = None) -> RankFeatures:
        """Give the features of the candidates of a query."""
        ...

    def score_batch(
        self, requests: Sequence[tuple[str, Sequence[str]]], *, deadline_s: float | None = None
    ) -> list[RankFeatures]:
        """Give what `score` gives, for several requests."""
        ...


@dataclass(slots=True, eq=False)
class _Asked:
    """A request in the queue; `alone` where its deadline is its own, so that it is no other's as well."""

    query: str
    doc_ids: Sequence[str]
    deadline: float
    alone: bool
    answer: asyncio.Future[RankFeatures]


Answer = RankFeatures | Exception


class Batcher:
    """Scores the requests of one model.

    The queue is bounded: a request that finds it full fails at once, so that those that are in it are answered in time.
    A request whose deadline passed while it waited is not scored. A batch has the nearest deadline of its requests;
    where that passes too early, those that have time left are scored again, each alone. So are those of a batch that
    breaks, so that one breaks alone. Answers are those of `FeatureScorer.score`, whatever stands in a batch.

    Args:
        take: gives the scorer; asked once for each batch, so that all of it is of one generation.
        queue_size: requests that wait or are scored.
        max_batch: requests scored together.
        wait_s: how long the first one of a batch waits for others.
        seen: told the size of every batch.
    """

    def __init__(
        self,
        take: Callable[[], BatchScorer],
        *,
        queue_size: int,
        max_batch: int,
        wait_s: float = 0.0,
        seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._take, self._queue_size, self._max_batch, self._wait_s = take, queue_size, max_batch, wait_s
        self._seen = seen
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._held = 0
        self._left: _Asked | None = None
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait or are scored now."""
        return self._held

    async def score(self, query: str, doc_ids: Sequence[str], *, deadline: float, alone: bool = False) -> RankFeatures:
        """Score the candidates of a query.

        Args:
            query: what was typed.
            doc_ids: the candidates.
            deadline: when it must be done, by `time.monotonic`.
            alone: keep it out of batches, which share the nearest deadline of their requests.

        Raises:
            ProblemError: the queue is full, or nothing was scored before the deadline.
        """
        if self._held >= self._queue_size:
            raise ProblemError("overloaded", f"{self._held} requests wait already; try again, or send fewer at once")
        self._held += 1
        try:
            asked = _Asked(query, doc_ids, deadline, alone, asyncio.get_running_loop().create_future())
            self._queue.put(asked)
            return await asked.answer
        except DeadlineError as error:
            raise ProblemError("deadline", str(error)) from error
        finally:
            self._held -= 1

    def close(self) -> None:
        """Score what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            now = time.monotonic()
            late = [asked for asked in batch if asked.deadline <= now]
            batch = [asked for asked in batch if asked.deadline > now]
            error = DeadlineError("the deadline passed while the request waited for others; nothing was scored")
            answers: list[tuple[_Asked, Answer]] = [(asked, error) for asked in late]
            if batch:
                self._seen(len(batch))
                answers += zip(batch, self._score(batch, now), strict=True)
            _hand_over(answers)

    def _next(self) -> list[_Asked]:
        """Give the requests of the next batch; none when the batcher is closed."""
        first, self._left = self._left or self._queue.get(), None
        if first is None:
            return []
        batch, until = [first], time.monotonic() + self._wait_s
        while len(batch) < self._max_batch and not first.alone:
            try:
                following = (
                    self._queue.get(timeout=max(until - time.monotonic(), 0))
                    if self._wait_s
                    else (self._queue.get_nowait())
                )
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            if following.alone:
                self._left = following
                break
            batch.append(following)
        return batch

    def _score(self, batch: list[_Asked], now: float) -> Sequence[Answer]:
        try:
            scorer = self._take()
            left = min(asked.deadline for asked in batch) - now
            if len(batch) == 1:
                return [scorer.score(batch[0].query, batch[0].doc_ids, deadline_s=left)]
            together = [(asked.query, asked.doc_ids) for asked in batch]
            return self._completed(batch, scorer.score_batch(together, deadline_s=left))
        except DeadlineError as error:
            return [error] if len(batch) == 1 else self._completed(batch, [error] * len(batch))
        except Exception as error:
            if len(batch) == 1:
                return [error]
            _log.exception("a batch of %d requests failed; each is scored alone", len(batch))
            return [self._score([asked], time.monotonic())[0] for asked in batch]

    def _completed(self, batch: list[_Asked], answers: Sequence[Answer]) -> list[Answer]:
        """Score those again, each alone, that another's deadline cut short and that have time left."""
        completed = []
        for asked, answer in zip(batch, answers, strict=True):
            now = time.monotonic()
            if (isinstance(answer, Exception) or answer.late) and asked.deadline > now:
                again = self._score([asked], now)[0]
                completed.append(answer if isinstance(again, DeadlineError) else again)
            else:
                completed.append(answer)
        return completed


def _hand_over(answers: Sequence[tuple[_Asked, Answer]]) -> None:
    """Give answers to the event loops that wait for them; a loop that is closed needs none."""
    loops = {asked.answer.get_loop() for asked, _ in answers}
    for loop in loops:
        mine = [(asked.answer, answer) for asked, answer in answers if asked.answer.get_loop() is loop]
        try:
            loop.call_soon_threadsafe(_settle, mine)
        except RuntimeError:
            _log.debug("%d answers came after the end of their event loop", len(mine))


def _settle(answers: Sequence[tuple[asyncio.Future[RankFeatures], Answer]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
