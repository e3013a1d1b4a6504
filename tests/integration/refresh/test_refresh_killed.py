"""A refresh that is killed at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
import time

from mmsearch.index import ForwardIndex
from serving.refresh import refresh
from serving.settings import RefreshSettings

SETTINGS = RefreshSettings(batch_size=5)
TITLES = [f"title {i}" for i in range(200)]


def test_kill_9_loses_at_most_a_shard_and_changes_no_byte(new_corpus, new_encoder, tmp_path, served_bytes):
    undisturbed, corpus = new_encoder(), new_corpus(TITLES)
    refresh(corpus, undisturbed, undisturbed.export, tmp_path / "one", SETTINGS)
    asked = tmp_path / "asked"
    asked.write_bytes(b"")

    def work() -> None:
        encoder = new_encoder()
        encoder.before = lambda: (time.sleep(0.002), os.write(log, b"x" * SETTINGS.batch_size))
        refresh(corpus, encoder, encoder.export, tmp_path / "two", SETTINGS)

    log = os.open(asked, os.O_WRONLY | os.O_APPEND)
    chance, kills, done = random.Random(4), 0, False
    while not done:
        child = os.fork()
        if not child:
            try:
                work()
            finally:
                os._exit(0 if (tmp_path / "two" / "CURRENT").exists() else 99)
        end = time.monotonic() + chance.uniform(0.02, 0.08)
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
    assert served_bytes(tmp_path / "two") == served_bytes(tmp_path / "one")
    assert not (tmp_path / "two" / ".work").exists()
    assert len(asked.read_bytes()) <= 200 + kills * (16 + 5), "more than a shard was done again after a kill"
