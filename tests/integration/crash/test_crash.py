"""An index under SIGKILL, refused calls, power loss, races and readers. Real processes; the scripts stand beside.

The quick forms run by default or in `make slow`. The long ones (`-m nightly`) are the figures of docs/reliability.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

nightly = pytest.mark.nightly


def run(script, *arguments, timeout=600):
    """Run a script in a process of its own that imports the index and nothing else; give what it printed."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    print(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), [(160, 7), pytest.param(3000, 11, marks=nightly)])
def test_kill_9_at_random_moments(tmp_path, kills, seed):
    """RELIABILITY 1: never unreadable, mixed or back; what comes next succeeds and leaves no orphan.

    With the 40 kills of refreshes (tests/integration/refresh/test_refresh_killed_day_by_day.py) that makes 200.
    """
    run("kill_at_random.py", tmp_path, kills, seed, timeout=5000)


@pytest.mark.parametrize(("races", "seed"), [(20, 5), pytest.param(1000, 5, marks=nightly)])
def test_four_writers_at_once(tmp_path, races, seed):
    """RELIABILITY 8: one winner a version, no lost update, losers are told who holds the lock."""
    run("race.py", tmp_path, races, seed, timeout=5000)


@nightly
def test_readers_across_two_hundred_swaps(tmp_path):
    """RELIABILITY 9 and 10, the index's part (ten swaps by default: tests/integration/test_index_readers.py)."""
    run("readers.py", tmp_path, 200, 60)


@pytest.mark.parametrize(("executions", "seed"), [(2000, 1), pytest.param(200_000, 2, marks=nightly)])
def test_hostile_bytes(tmp_path, executions, seed):
    """RELIABILITY 6 and 7: parsers answer or refuse, within a second and 512 MB. `fuzz.py` tells how to use atheris."""
    run("fuzz.py", tmp_path, executions, seed, timeout=10_000)
