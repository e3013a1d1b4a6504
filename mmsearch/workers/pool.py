"""A pool of supervised worker processes."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from mmsearch.errors import MmsearchError
from mmsearch.workers.child import BEAT, OUT_OF_MEMORY, RAISED, READY, UNUSABLE
from mmsearch.workers.process import WorkerProcess
from mmsearch.workers.task import Failure, Outcome, Task

T = TypeVar("T")
R = TypeVar("R")

_MAX_FAILED_STARTS = 5


class Pool(Generic[T, R]):
    """Processes that call one function on many items.

    An item whose worker dies, hangs beyond `timeout_s` or runs out of memory is tried again in a fresh worker, and
    after `attempts` trials it is reported with its reason; every other item goes on. An exception is reported at once:
    it would come again. Workers start on the first `imap`, and are new interpreters (no fork), so what they call must
    be importable: a function at the top level of a module, or an object of a class that is. The function is unpickled
    once per worker: an object may keep a loaded model between items.

    Args:
        function: what to call on every item.
        num_workers: processes.
        timeout_s: seconds of wall time for one item, or until its next `beat`; None = no limit. Starting a worker does
            not count.
        max_bytes: private memory of a worker (RLIMIT_DATA; mapped files and libraries do not count); None = no limit.
        attempts: how often an item is begun before its failure is reported.
        threads: threads for the numerical libraries in a worker.
        fresh_after_raise: whether an exception ends its worker too: where it may leave a broken state (a GPU's).
        start_s: seconds that a worker may take to start and to unpickle the function.

    On Linux, workers die when the thread that started them ends, and with it when the process does, also by SIGKILL;
    use a pool from one thread. Elsewhere they end after their current item.
    """

    def __init__(
        self,
        function: Callable[[T], R],
        *,
        num_workers: int,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
        attempts: int = 2,
        threads: int = 1,
        fresh_after_raise: bool = False,
        start_s: float = 120.0,
    ) -> None:
        if num_workers < 1 or attempts < 1:
            raise ValueError("num_workers and attempts must be at least 1")
        self._function = pickle.dumps(function)
        self._num_workers, self._attempts = num_workers, attempts
        self._timeout_s, self._max_bytes, self._threads = timeout_s, max_bytes, threads
        self._fresh_after_raise, self._start_s = fresh_after_raise, start_s
        self._workers: list[WorkerProcess[T]] = []
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers: idle ones by themselves, busy ones by SIGKILL. The pool can be used again."""
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.ready and worker.task is None:
                worker.dismiss()
            else:
                worker.end()

    def imap(self, items: Iterable[T], *, ordered: bool = True, window: int | None = None) -> Iterator[Outcome[R]]:
        """Yield the outcome of every item.

        Items are read only as fast as outcomes are taken: at most `window` are under way or wait to be yielded. One
        iteration at a time; workers that are busy when it is left early are killed.

        Args:
            items: what to work on; each must be picklable.
            ordered: in the order of the items; False = as they end.
            window: items under way or waiting for their turn (at least num_workers); 8 per worker by default.

        Raises:
            MmsearchError: workers do not start (the function cannot be imported, or memory is below what it needs).
        """
        window = max(window or 8 * self._num_workers, self._num_workers)
        source = (Task(i, item) for i, item in enumerate(items))
        done: dict[int, Outcome[R]] = {}
        turn = under_way = 0
        exhausted = False
        try:
            while True:
                while not exhausted and under_way + len(done) < window and (worker := self._free_worker()):
                    task = next(source, None)
                    exhausted = task is None
                    if task is not None:
                        self._give(worker, task)
                        under_way += 1
                if under_way == 0 and not done:
                    return
                for outcome in self._wait() if under_way else ():
                    under_way -= 1
                    done[outcome.index] = outcome
                while done and (not ordered or turn in done):
                    yield done.pop(turn if ordered else next(iter(done)))
                    turn += 1
        finally:
            for worker in [w for w in self._workers if w.task is not None]:
                self._workers.remove(worker)
                worker.end()

    def _free_worker(self) -> WorkerProcess[T] | None:
        for worker in self._workers:
            if worker.task is None:
                return worker
        return self._start() if len(self._workers) < self._num_workers else None

    def _start(self) -> WorkerProcess[T]:
        worker: WorkerProcess[T] = WorkerProcess(self._function, self._max_bytes, self._threads, self._start_s)
        self._workers.append(worker)
        return worker

    def _give(self, worker: WorkerProcess[T], task: Task[T]) -> None:
        worker.task = task
        if worker.ready:
            worker.begin(self._timeout_s)

    def _wait(self) -> Iterator[Outcome[R]]:
        """Wait until some worker speaks, dies or is late; yield the outcomes that this brings."""
        busy = [worker for worker in self._workers if worker.task is not None]
        until = min(worker.deadline for worker in busy)
        left = None if math.isinf(until) else max(0.0, until - time.monotonic())
        heard = wait([worker.connection for worker in busy], left)
        for worker in busy:
            outcome: Outcome[R] | None = None
            if worker.connection in heard:
                outcome = self._hear(worker)
            elif time.monotonic() > worker.deadline and not worker.connection.poll():
                outcome = self._late(worker)
            if outcome is not None:
                yield outcome

    def _hear(self, worker: WorkerProcess[T]) -> Outcome[R] | None:
        said = worker.hear()
        if said is None:
            return self._gone(worker)
        kind, value = said
        if kind == UNUSABLE:
            raise MmsearchError(f"a worker process cannot start: {value}")
        if kind == READY:
            worker.ready, self._failed_starts = True, 0
            worker.begin(self._timeout_s)
            return None
        if kind == BEAT:
            worker.allow(self._timeout_s)
            return None
        if kind == OUT_OF_MEMORY:  # its memory is in pieces: do not use it again
            return self._failed(worker, Failure.OUT_OF_MEMORY, f"more than {_mebibytes(self._max_bytes)}")
        assert worker.task is not None  # noqa: S101 (for the type checker)
        index = worker.task.index
        if kind == RAISED and self._fresh_after_raise:
            self._remove(worker)
        else:
            worker.task = None
        return Outcome(index, None, Failure.RAISED, value) if kind == RAISED else Outcome(index, value)

    def _gone(self, worker: WorkerProcess[T]) -> Outcome[R] | None:
        if worker.ready:
            return self._failed(worker, Failure.CRASHED, "")
        self._failed_starts += 1
        task, how = self._remove(worker)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise MmsearchError(f"worker processes do not start: {how} ({self._failed_starts} times)")
        self._give(self._start(), task)
        return None

    def _late(self, worker: WorkerProcess[T]) -> Outcome[R] | None:
        if worker.ready:
            return self._failed(worker, Failure.TIMEOUT, f"more than {self._timeout_s:g} s")
        return self._gone(worker)

    def _failed(self, worker: WorkerProcess[T], failure: Failure, detail: str) -> Outcome[R] | None:
        """Replace a worker that cannot go on; try its task in the new one, or report it."""
        task, how = self._remove(worker)
        if task.attempts < self._attempts:
            self._give(self._start(), task)
            return None
        return Outcome(task.index, None, failure, detail or how)

    def _remove(self, worker: WorkerProcess[T]) -> tuple[Task[T], str]:
        self._workers.remove(worker)
        how = worker.end()
        assert worker.task is not None  # noqa: S101 (for the type checker)
        return worker.task, how


def _mebibytes(count: Any) -> str:
    return "the machine has" if count is None else f"{count / 2**20:,.0f} MiB"
