"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from mmsearch.errors import DataError
from mmsearch.index.layout import lock_of


class BusyIndexError(DataError):
    """Another writer is at work; it may do to try again later."""


class WriteLock:
    """Hold an index for writing; the kernel lets go of it when the process dies, however it dies.

    Raises:
        BusyIndexError: another process (or another writer of this one) holds it; the message names the process.
    """

    def __init__(self, index_dir: Path) -> None:
        self._descriptor: int | None = os.open(lock_of(index_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise BusyIndexError(
                f"{index_dir}: process {holder or 'unknown'} is publishing here; wait until it ends, or end it"
            ) from None
        except OSError:
            self.release()
            raise

    def __enter__(self) -> WriteLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Let the next writer in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
