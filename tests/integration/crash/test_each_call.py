"""Every call by which an index changes its disk: die there, be refused there, lose power there. Needs a C compiler."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from shim import can_build, run_under_shim  # noqa: E402

sys.path.remove(str(HERE))

ACTIONS = ("first", "publish", "overlay", "compact", "gc", "roll_back")
ALL = ",".join(ACTIONS)
ERRORS = ("ENOSPC", "EIO", "EMFILE", "EACCES")

pytestmark = pytest.mark.skipif(not can_build(), reason="no C compiler (cc) to build what stands between")
nightly = pytest.mark.nightly


def run(script, folder, *arguments, timeout=600):
    print(run_under_shim(HERE / script, str(folder), *map(str, arguments), folder=folder, timeout=timeout))


def test_death_at_each_call(tmp_path):
    """RELIABILITY 2: the old state or the new one, never a third; what comes next succeeds."""
    run("each_call.py", tmp_path, ALL, "die")


@pytest.mark.parametrize(
    ("actions", "error"),
    [("publish", "ENOSPC"), ("overlay", "EACCES"), ("gc,roll_back", "EIO"), ("gc,roll_back", "EMFILE")],
)
def test_refusal_at_each_call(tmp_path, actions, error):
    """RELIABILITY 4: a clear error, the old state served, nothing left behind, and the same process goes on."""
    run("each_call.py", tmp_path, actions, error)


@nightly
@pytest.mark.parametrize("how", [*ERRORS, "ENOSPC full", "EIO full", "torn"])
def test_refusal_of_every_kind(tmp_path, how):
    """RELIABILITY 2 and 4, every action: each error, disks that stay full, and writes of which half is done."""
    run("each_call.py", tmp_path, ALL, *how.split(), timeout=5000)


@nightly
@pytest.mark.parametrize("how", ["die", "torn", *ERRORS, "ENOSPC full"])
def test_harm_at_each_call_of_a_refresh(tmp_path, how):
    """RELIABILITY 1, 2 and 4: yesterday's bytes or today's, and today's in the end."""
    run("refresh_calls.py", tmp_path, *how.split(), timeout=5000)


@pytest.mark.parametrize(("ways", "seed"), [(1, 3), pytest.param(20, 3, marks=nightly)])
def test_power_loss(tmp_path, ways, seed):
    """RELIABILITY 3: what was never synced may be lost, torn or reordered, and a whole state is served all the same."""
    run("power.py", tmp_path, f"careless,{ALL}", ways, seed, timeout=5000)
