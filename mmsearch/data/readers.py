"""Who reads a prepared corpus: a training of days must not lose its files to the `prepare` of the night."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsearch.data.manifest import SHARDS


def hold_for(reader: object, folder: Path) -> None:
    """Hold a shared lock on a corpus as long as an object lives, in this process and those forked from it.

    The kernel lets go when the last of them ends, however it ends. Where a file system has no such locks, or the corpus
    has no shards, nothing is held.

    Args:
        reader: the object.
        folder: of the corpus.
    """
    try:
        descriptor = os.open(folder / SHARDS, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    weakref.finalize(reader, os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # whoever holds it alone removes files, and does nothing longer
    except OSError:
        return


@contextmanager
def unless_read(folder: Path) -> Iterator[bool]:
    """Keep readers waiting for the block, and tell whether there is none (see `hold_for`), as far as one can tell."""
    descriptor = os.open(folder / SHARDS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # no locks here
            pass
        yield True
    finally:
        os.close(descriptor)
