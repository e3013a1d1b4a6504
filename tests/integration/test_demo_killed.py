"""A demo run that is killed leaves nothing that the same command does not finish to the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("av")

COMMAND = [sys.executable, "-c", "from mmsearch.cli.main import main; main()", "demo"]
SETTINGS = ["videos=40", "sessions=20", "train_intents=20"]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_kill_and_start_again_gives_the_bytes_of_one_run(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*COMMAND, "--out", str(killed), *SETTINGS], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(killed.glob("video/*.mp4"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "world.json").exists()
    for out in (killed, whole):
        subprocess.run([*COMMAND, "--out", str(out), *SETTINGS], check=True, stdout=subprocess.DEVNULL)
    assert content(killed) == content(whole)
