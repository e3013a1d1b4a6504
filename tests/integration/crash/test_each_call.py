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
QUICK = "publish,overlay,gc,roll_back"
ERRORS = ("ENOSPC", "EIO", "EMFILE", "EACCES")

nightly = pytest.mark.nightly
pytestmark = pytest.mark.skipif(not can_build(), reason="no C compiler (cc) to build what stands between")


def run(script, folder, *arguments, timeout=600):
    print(run_under_shim(HERE / script, str(folder), *map(str, arguments), folder=folder, timeout=timeout))


@pytest.mark.slow
@pytest.mark.parametrize(("actions", "pace"), [(QUICK, "quick"), pytest.param(ALL, "whole", marks=nightly)])
def test_death_at_each_call(tmp_path, actions, pace):
    """RELIABILITY 2: the old state or the new one, never a third; what comes next succeeds."""
    run("each_call.py", tmp_path, actions, "die", pace, timeout=5000)


@pytest.mark.slow
@pytest.mark.parametrize(("actions", "error"), [("publish", "ENOSPC"), ("gc", "EIO")])
def test_refusal_at_each_call(tmp_path, actions, error):
    """RELIABILITY 4: a clear error, the old state served, nothing left behind, and the same process goes on."""
    run("each_call.py", tmp_path, actions, error, "quick")


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


@pytest.mark.slow
@pytest.mark.parametrize(("actions", "ways"), [(QUICK, 1), pytest.param(ALL, 20, marks=nightly)])
def test_power_loss(tmp_path, actions, ways):
    """RELIABILITY 3: what was never synced may be lost, torn or reordered, and a whole state is served all the same.

    `careless` publishes without a single fsync: there the model must find states that cannot be read.
    """
    run("power.py", tmp_path, f"careless,{actions}", ways, 3, timeout=5000)
