"""A refresh that is killed at random moments, again and again."""

from __future__ import annotations

import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmsearch.index import ForwardIndex
from serving.refresh import refresh
from serving.settings import RefreshSettings

SETTINGS = RefreshSettings(batch_size=5, shard_size=16, check_sample=0)
TITLES = [f"title {i}" for i in range(200)]


def test_kill_9_loses_at_most_a_shard_and_changes_no_byte(tmp_path):
    """In a process of its own that imports little: the children are forked."""
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


def kill_again_and_again(tmp_path: Path) -> None:
    given = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    new_encoder, corpus = given["Encoder"], given["write_corpus"](tmp_path / "corpus", TITLES)
    undisturbed = new_encoder(num_codes=2)
    refresh(corpus, undisturbed, undisturbed.export, tmp_path / "one", SETTINGS)
    asked = tmp_path / "asked"
    asked.write_bytes(b"")

    def work() -> None:
        encoder = new_encoder(num_codes=2)
        encoder.before = lambda: (time.sleep(0.002), os.write(log, b"x" * SETTINGS.batch_size))
        refresh(corpus, encoder, encoder.export, tmp_path / "two", SETTINGS)

    log = os.open(asked, os.O_WRONLY | os.O_APPEND)
    chance, kills, done = random.Random(4), 0, False
    while not done:
        swapped = (tmp_path / "two" / "CURRENT").exists()  # then there is nothing to do, and nothing is cleared
        child = os.fork()
        if not child:
            try:
                work()
            finally:
                os._exit(0 if (tmp_path / "two" / "CURRENT").exists() else 99)
        end = time.monotonic() + chance.uniform(0.02, 0.08) * 1.1**kills  # a busy machine gets on, in the end
        while time.monotonic() < end and not done:
            found, status = os.waitpid(child, os.WNOHANG)
            done = bool(found)
            time.sleep(0.001)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            assert kills < 100, "no progress from kill to kill"
    os.close(log)
    assert kills >= 2, "it was never killed"
    ForwardIndex.open(tmp_path / "two").verify()
    assert given["read_served"](tmp_path / "two") == given["read_served"](tmp_path / "one")
    assert swapped or not (tmp_path / "two" / ".work").exists()
    assert len(asked.read_bytes()) <= 200 + kills * (16 + 5), "more than a shard was done again after a kill"


if __name__ == "__main__":
    kill_again_and_again(Path(sys.argv[1]))
