"""What this machine, or the container on it, has to give."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def num_cpus() -> int:
    """Give the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Give the memory of the machine, or the limit of the container where that is lower."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return machine


def memory_share(num_processes: int) -> int:
    """Give the memory for each of some processes, when a tenth stays for the rest."""
    return memory_bytes() * 9 // 10 // num_processes
