"""Build the shim, start a process under it, and arm it in a child.

script under LD_PRELOAD ──fork──► child: Shim().die(...) → changes a disk → is harmed at the n-th call
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_COUNT, _DIE, _FAIL, _TEAR = range(1, 5)


def can_build() -> bool:
    """Tell whether there is a C compiler and a loader that knows LD_PRELOAD."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def run_under_shim(script: Path, *arguments: str, folder: Path, timeout: float = 600) -> str:
    """Run a Python script under the shim and give what it printed; what it says on failure becomes the assertion."""
    library = folder / "shim.so"
    build = ["cc", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(build, check=True, timeout=120)
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


class Shim:
    """What stands between this process and the calls that change anything below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fsencode(folder.resolve())
        self._library = ctypes.CDLL(None)
        self._library.shim_arm.argtypes = [ctypes.c_char_p, *[ctypes.c_int, ctypes.c_long], *[ctypes.c_int] * 3]
        self._library.shim_last.restype = ctypes.c_char_p
        for name in ("shim_counted", "shim_failed", "shim_unmodelled"):
            getattr(self._library, name).restype = ctypes.c_long

    def die(self, at: int, *, torn: bool = False) -> None:
        """Die by SIGKILL before the n-th call from now on, or (torn) in the middle of it where it is a write."""
        self._arm(_TEAR if torn else _DIE, at)

    def fail(self, at: int, error: int, *, keep_on: bool = False) -> None:
        """Let the n-th call that can give this error give it, and (keep_on) all such calls after it."""
        self._arm(_FAIL, at, error, keep_on)

    def trace(self, to: Path) -> None:
        """Write down what succeeds from now on, for `disk.Disk`."""
        self._arm(_COUNT, 0, trace_to=os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def off(self) -> None:
        """Harm nothing any more."""
        self._library.shim_arm(b"", 0, 0, 0, 0, -1)

    def _arm(self, what: int, at: int, error: int = 0, keep_on: bool = False, trace_to: int = -1) -> None:
        self._library.shim_arm(self._folder, what, at, error, keep_on, trace_to)

    @property
    def counted(self) -> int:
        """Calls that change something since it was armed."""
        return int(self._library.shim_counted())

    @property
    def failed(self) -> int:
        """Calls that were made to fail."""
        return int(self._library.shim_failed())

    @property
    def last(self) -> str:
        """Name of the call that was harmed; of the last one counted where none was."""
        return bytes(self._library.shim_last()).decode()

    @property
    def unmodelled(self) -> int:
        """Calls that change files in a way that the shim cannot harm or trace: must be 0."""
        return int(self._library.shim_unmodelled())
