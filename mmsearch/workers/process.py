"""The parent's side of one worker process: start it, give it a task, hear from it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from mmsearch.workers.task import Task

T = TypeVar("T")

#: A new interpreter, not a fork: safe beside threads, and no state is shared. `-P`: the working folder is not
#: searched for modules before the parent's own path is set.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mmsearch.workers.child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE_S = 5.0


class WorkerProcess(Generic[T]):
    """A worker process. `task` is what it works on (or, while it starts, what waits for it); None when idle.

    Args:
        function: the pickled function.
        max_bytes: limit of its private memory; None = no limit.
        threads: threads for the numerical libraries in it.
        start_s: seconds until it must be ready.
    """

    def __init__(self, function: bytes, max_bytes: int | None, threads: int, start_s: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [json.dumps(sys.path), str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and constant code)
                [sys.executable, "-P", "-c", _BOOT, *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # a chatty library must not write into our results
                start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
                env=os.environ | dict.fromkeys(_THREADS, str(threads)),
            )
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self.task: Task[T] | None = None
        self.ready = False
        self.deadline = time.monotonic() + start_s
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # died already: heard as end of file
            self.connection.send((max_bytes, function))

    def begin(self, timeout_s: float | None) -> None:
        """Send the task to the worker and start its clock."""
        assert self.task is not None  # noqa: S101 (for the type checker)
        self.task.attempts += 1
        self.allow(timeout_s)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(self.task.item)

    def allow(self, timeout_s: float | None) -> None:
        """Let the worker be silent for so many seconds from now; None = for ever."""
        self.deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")

    def hear(self) -> tuple[str, Any] | None:
        """Give what the worker said; None when it is gone."""
        try:
            kind, value = pickle.loads(self.connection.recv_bytes())  # noqa: S301 (from our own child)
        except (EOFError, OSError):
            return None
        return kind, value

    def end(self) -> str:
        """Kill the worker and all that it started, reap it, and tell how it died."""
        code = self._process.poll()
        if code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                # The socket closes before the process is gone: give a dying worker time to tell its own cause.
                code = self._process.wait(2.0) if self._gone() else None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        if code is None:
            return "it was stopped"
        return f"it died of {signal.Signals(-code).name}" if code < 0 else f"it exited with code {code}"

    def dismiss(self) -> None:
        """Let an idle worker go: it ends by itself when its socket closes."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self.end()

    def _gone(self) -> bool:
        return not self.connection.closed and self.connection.poll()
