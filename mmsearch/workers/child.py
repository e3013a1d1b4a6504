"""The inside of a worker process: read an item, call the function, send what it returned.

Started by `mmsearch.workers.process`; talks through one inherited socket. It dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

READY, BEAT, RETURNED, RAISED = "ready", "beat", "returned", "raised"
OUT_OF_MEMORY, UNUSABLE = "out_of_memory", "unusable"

_PR_SET_PDEATHSIG = 1

_supervisor: Connection[Any, Any] | None = None


def beat() -> None:
    """Tell the supervisor that the work on the item goes on: its time limit counts from now.

    For a function that a `Pool` calls, from the thread in which it was called; anywhere else it does nothing.
    """
    if _supervisor is not None:
        _supervisor.send_bytes(pickle.dumps((BEAT, None)))


def main(descriptor: int, parent: int) -> None:
    """Serve tasks from the socket until it is closed."""
    global _supervisor
    _die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a segfault is an expected event: no dump of gigabytes
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        max_bytes, pickled = connection.recv()
        if max_bytes is not None:
            _limit_memory(max_bytes)
        function = pickle.loads(pickled)  # noqa: S301 (from our own parent, through a socket that nobody else holds)
    except BaseException as error:
        connection.send((UNUSABLE, f"{type(error).__name__}: {error}"))
        return
    connection.send((READY, None))
    _supervisor = connection
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send_bytes(_answer(function, item))


def _answer(function: Callable[[Any], Any], item: Any) -> bytes:
    try:
        return pickle.dumps((RETURNED, function(item)), protocol=pickle.HIGHEST_PROTOCOL)
    except MemoryError as error:
        return pickle.dumps((OUT_OF_MEMORY, str(error)))
    except Exception as error:  # whatever the function raises belongs to this item alone
        return pickle.dumps((RAISED, f"{type(error).__name__}: {error}"))


def _limit_memory(max_bytes: int) -> None:
    """Limit what is really written (RLIMIT_DATA): mapped libraries and files do not count, as they would for AS."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends: a decoder that hangs would not see the closed socket."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)
