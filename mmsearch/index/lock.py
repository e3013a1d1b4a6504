"""One writer at a time, and one of whatever else must not meet itself."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mmsearch.errors import DataError
from mmsearch.index.layout import lock_of

_NUM_LOOKS = 20
_LOOK_AGAIN_S = 0.01


class BusyIndexError(DataError):
    """Another writer is at work; it may do to try again later."""


class FileLock:
    """Hold a file of an index alone; the kernel lets go of it when the process dies, however it dies.

    Args:
        path: the file; made when it does not exist.
        told: gives the beginning of the error, from the process that holds it.

    Raises:
        BusyIndexError: another process (or another holder in this one) has it; the message names the process.
    """

    def __init__(self, path: Path, told: Callable[[str], str]) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = _holder(self._descriptor)
            self._close()
            raise BusyIndexError(f"{told(holder or 'unknown')}; wait until it ends, or end it") from None
        except OSError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Let the next writer in."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class WriteLock(FileLock):
    """Hold an index for writing: while a generation is written, one is removed, or another one is to be served."""

    def __init__(self, index_dir: Path) -> None:
        super().__init__(lock_of(index_dir), lambda holder: f"{index_dir}: process {holder} is publishing here")


def _holder(descriptor: int) -> str:
    """Give the process that holds the lock; it writes its number a moment after it got it."""
    holder = ""
    for _ in range(_NUM_LOOKS):
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if holder.isdigit() and _is_alive(int(holder)):
            break
        time.sleep(_LOOK_AGAIN_S)
    return holder


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # one that was killed left its number, or lives in another container
        return False
    except PermissionError:
        pass
    return True
