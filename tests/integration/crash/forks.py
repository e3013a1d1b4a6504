"""Children of a warm process, and how they end."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

#: Exit code of a child in which something raised.
RAISED = 99


def fork(work: Callable[[], int | None]) -> int:
    """Start a child that does one thing and ends with what it gives; give the child's process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = RAISED
    try:
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def join(child: int) -> int:
    """Wait for a child; give its exit code, minus the signal where one killed it."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def fast_folder(folder: Path, name: str) -> Path:
    """Make a folder in memory where there is room: what a process leaves when it dies does not depend on the disk.

    Whoever asked removes it.
    """
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix=f"crash-{name}-", dir=memory if os.access(memory, os.W_OK) else folder))
    return made.resolve()
