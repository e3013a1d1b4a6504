"""Embed items in supervised, limited processes; whoever breaks one is found and left out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from mmsearch.errors import MmsearchError
from mmsearch.workers import Failure, Outcome, Pool
from serving.embed import EmbedJob
from serving.executors.isolate import Failed, Isolation, Task
from serving.work_item import Done, Reason, WorkItem

_log = logging.getLogger(__name__)

#: Reading a large model from a slow disk may take minutes.
_START_S = 900.0

_REASONS = {
    Failure.CRASHED: Reason.CRASH,
    Failure.TIMEOUT: Reason.TIMEOUT,
    Failure.OUT_OF_MEMORY: Reason.MEMORY,
    Failure.RAISED: Reason.RAISED,
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error that is not of a video: the corpus, the disk."""

    error: MmsearchError


class _Worker:
    """What a worker process calls; unpickling it loads the model, so that this counts as start, not as work."""

    def __init__(self, job: EmbedJob) -> None:
        self._job = job

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._job.open()

    def __call__(self, task: Task) -> Done | Failed | _Refusal | None:
        try:
            if task.places is not None:
                self._job.rehearse(task.item, task.places)
                return None
            return self._job.embed(task.item, {place: (reason, detail) for place, reason, detail in task.left_out})
        except MmsearchError as error:
            return _Refusal(error)
        except MemoryError:
            raise  # the pool replaces this process
        except Exception as error:
            if _gpu_in_use():  # an error of CUDA stays with its process
                raise
            return Failed(Reason.RAISED, f"{type(error).__name__}: {error}")


def _gpu_in_use() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


class Supervised:
    """Processes that embed items of one job. They start with the first item; use as a context manager.

    Args:
        job: what they embed for.
        num_workers: processes; each loads the model.
        timeout_s: seconds that one batch may take.
        max_memory_bytes: private memory of one process; None = no limit.
        threads: threads for the numerical libraries in each.
    """

    def __init__(
        self, job: EmbedJob, *, num_workers: int, timeout_s: float, max_memory_bytes: int | None, threads: int
    ) -> None:
        self._window = 2 * num_workers
        self._pool: Pool[Task, Any] = Pool(
            _Worker(job),
            num_workers=num_workers,
            timeout_s=timeout_s,
            max_bytes=max_memory_bytes,
            attempts=1,  # `Isolation` counts
            threads=threads,
            fresh_after_raise=True,
            start_s=_START_S,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def run(self, items: Iterable[WorkItem]) -> Iterator[Done]:
        """Embed and commit items; each is yielded as it ends. One call at a time.

        Raises:
            MmsearchError: as `Executor.run`.
        """
        isolation = Isolation(items)
        while True:
            given: dict[int, Task] = {}
            for outcome in self._pool.imap(_noting(isolation.tasks(), given), ordered=False, window=self._window):
                task = given.pop(outcome.index)
                done = _hear(isolation, task, outcome)
                if done is not None:
                    yield done
            if not isolation.has_more:
                return


def _noting(tasks: Iterator[Task], given: dict[int, Task]) -> Iterator[Task]:
    for index, task in enumerate(tasks):
        given[index] = task
        yield task


def _hear(isolation: Isolation, task: Task, outcome: Outcome[Any]) -> Done | None:
    value = outcome.value
    if isinstance(value, _Refusal):
        raise value.error
    if outcome.failure is not None:
        value = Failed(_REASONS[outcome.failure], outcome.detail)
    if not isinstance(value, Failed):
        return isolation.succeeded(task, value)
    count = len(task.item.rows) if task.places is None else len(task.places)
    _log.warning("embedding %d videos failed (%s: %s)", count, value.reason, value.detail)
    isolation.failed(task, value)
    return None
