"""Freed memory is kept: the next batch of the same size touches no fresh page."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from mmsearch.allocator import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
np.ones(1 << 23)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(1 << 23)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def fresh_pages(how):
    command = [sys.executable, "-c", SCRIPT, how]
    kept, pages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return bool(int(kept)), int(pages)


def test_batches_of_one_size_touch_their_pages_once():
    kept, pages = fresh_pages("keep")
    if not kept:
        pytest.skip("not glibc")
    assert 10 * pages < fresh_pages("leave")[1]
