"""A reader's hold on a generation: while it lives, nobody removes the files."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsearch.errors import CorruptIndexError
from mmsearch.index.layout import MANIFEST

log = logging.getLogger(__name__)


class Lease:
    """A shared flock on a generation's manifest, held until the object goes; the kernel lets go at SIGKILL.

    Whoever removes a generation renames it first, alone with it (`sole_holder`): so what is still there under its name
    once it is held, stays there. Where the file system knows no locks, there is no hold, and the log tells.

    Raises:
        CorruptIndexError: there is no such generation.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / MANIFEST
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CorruptIndexError(f"{path}: cannot be read ({error.strerror}); publish again") from error
        self._let_go = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # whoever holds it alone does so for a rename, no longer
        except OSError as error:
            log.warning("%s: cannot be held against removal: %s", path, error.strerror)


@contextmanager
def sole_holder(folder: Path) -> Iterator[bool]:
    """Tell whether no reader holds a generation, and let none come while the block runs.

    A generation without a manifest is held by nobody. One that cannot be locked counts as held.
    """
    try:
        descriptor = os.open(folder / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        yield error.errno in (errno.ENOENT, errno.ENOTDIR)
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Tell whether a reader has a generation open at this moment."""
    with sole_holder(folder) as alone:
        return not alone
