"""A few threads with a bounded queue, for what is slower than scoring: searching, explaining, reading covers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mmsearch.errors import DeadlineError
from serving.service.problems import ProblemError

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Lane:
    """Runs blocking work beside the event loop.

    Args:
        name: of the threads.
        num_threads: works that run at once.
        queue_size: works that wait or run; one more fails at once.
    """

    def __init__(self, name: str, *, num_threads: int, queue_size: int) -> None:
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix=name)
        self._name, self._queue_size, self._held = name, queue_size, 0

    @property
    def waiting(self) -> int:
        """Works that wait or run now."""
        return self._held

    async def run(self, work: Callable[[], T], *, deadline: float) -> T:
        """Give what a function gives.

        Args:
            work: the function.
            deadline: it is not begun after that, by `time.monotonic`.

        Raises:
            ProblemError: the queue is full, or the deadline passed.
        """
        if self._held >= self._queue_size:
            raise ProblemError("overloaded", f"{self._held} requests are waiting for {self._name} already; try again")
        self._held += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _unless_late, work, deadline)
        except DeadlineError as error:
            raise ProblemError("deadline", str(error)) from error
        finally:
            self._held -= 1

    def begin(self, work: Callable[[], object]) -> None:
        """Do something without anybody waiting for it; what it raises goes to the log."""
        self._pool.submit(_logged, work)

    def close(self) -> None:
        """Do what waits, and end the threads."""
        self._pool.shutdown()


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        _log.exception("work beside requests failed")


def _unless_late(work: Callable[[], T], deadline: float) -> T:
    if time.monotonic() >= deadline:
        raise DeadlineError("the deadline passed while the request waited for others")
    return work()
