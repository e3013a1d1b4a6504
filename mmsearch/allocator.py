"""How the C library keeps memory that was freed."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Let this process keep what it frees instead of giving it back to the system and taking it anew.

    glibc returns large blocks at once, and every page of the next one is cleared by the kernel when it is first
    touched. Towers on the CPU allocate the same sizes for every batch: a tenth of their time went there
    (docs/lab-notes.md). The process then stays as large as it ever was. Elsewhere than on glibc nothing is done.

    Returns:
        Whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
