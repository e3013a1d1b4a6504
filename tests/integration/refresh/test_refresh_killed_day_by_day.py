"""Refreshes of a corpus and a model that change from day to day, killed at random moments of all that they do."""

from __future__ import annotations

import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mmsearch.index import ForwardIndex
from mmsearch.index.generations import collect
from serving.refresh import refresh
from serving.settings import RefreshSettings

SETTINGS = RefreshSettings(batch_size=4, shard_size=8, check_sample=4)
NUM_VIDEOS = 60


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), [(40, 3), pytest.param(600, 3, marks=pytest.mark.nightly)])
def test_what_is_served_is_always_a_whole_day(tmp_path, kills, seed):
    """RELIABILITY 1: yesterday's index or today's, byte by byte; the same bytes as without kills in the end."""
    command = [sys.executable, __file__, str(tmp_path), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def titles(day: int) -> dict[str, str]:
    """Give the videos of a day: some new, some gone, some with another title than the day before."""
    there = [i for i in range(NUM_VIDEOS) if (i + day) % 9]
    return {f"v{i}": f"title {i} of day {day - (day + 4 * i) % 5}" for i in there}


def fork(work: Callable[[], object]) -> int:
    """Start a child of this warm process."""
    child = os.fork()
    if not child:
        code = 99
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


class Days:
    """Two indexes of the same corpora: one is refreshed in peace, the other is killed again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = runpy.run_path(str(Path(__file__).with_name("conftest.py")))

    def refresh(self, day: int, index: str) -> None:
        """Bring an index to a day: its corpus, and a model that is another one each fifth day."""
        corpus = self.folder / f"corpus-{day}"
        encoder = self.given["Encoder"](str(day // 5), num_codes=1 + day // 5 % 2)
        settings = SETTINGS.model_copy(update={"dtype": ("float16", "int8")[day // 3 % 2]})
        opened = self.given["PreparedCorpus"].open(corpus)
        refresh(opened, encoder, encoder.export, self.folder / index, settings)
        collect(self.folder / index, keep=1)

    def begin(self, day: int) -> None:
        """Write the corpus of a day and refresh the undisturbed index, in a child: the parent stays without threads."""

        def work() -> None:
            self.given["write_corpus"](self.folder / f"corpus-{day}", titles(day), 16)
            self.refresh(day, "undisturbed")

        assert os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1]) == 0

    def served(self, index: str) -> dict[str, bytes]:
        """Give what is served, byte by byte, after making sure that it can be read whole."""
        ForwardIndex.open(self.folder / index, verify="full")
        found: dict[str, bytes] = self.given["read_served"](self.folder / index)
        return found


def kill_day_by_day(folder: Path, kills: int, seed: int) -> None:
    """Go from day to day until there were so many kills."""
    days, chance, killed, day = Days(folder), random.Random(seed), 0, 0
    days.begin(0)
    days.refresh(0, "killed")
    served = days.served("undisturbed")
    assert days.served("killed") == served
    slowly = 0.05
    while killed < kills or day < 4:
        day += 1
        days.begin(day)
        wanted, tries, now = days.served("undisturbed"), 0, served
        assert wanted != served
        while True:
            start = time.monotonic()
            child = fork(partial(days.refresh, day, "killed"))
            status = wait(child, chance.uniform(0, slowly) * 1.1**tries)
            if status is None:
                killed, tries = killed + 1, tries + 1
                now = days.served("killed")
                assert now in (served, wanted), f"day {day}: neither yesterday's index nor today's"
                continue
            assert status == 0, f"day {day}: the refresh after {tries} kills failed"
            slowly = 0.5 * slowly + 0.5 * (time.monotonic() - start)
            break
        served = wanted
        assert days.served("killed") == served, f"day {day}: other bytes after {tries} kills"
        assert not (folder / "killed" / ".work").exists(), f"day {day}: something was left after {tries} kills"
        shutil.rmtree(folder / f"corpus-{day}")
    print(f"{killed} kills in {day} days, seed {seed}")


def wait(child: int, seconds: float) -> int | None:
    """Give the exit code of a child; kill it after a time, and give None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGKILL else code


def main() -> None:
    """Do what the command line says, in memory where there is room: a kill does not depend on the disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="days-", dir=memory if os.access(memory, os.W_OK) else sys.argv[1]))
    try:
        kill_day_by_day(folder, int(sys.argv[2]), int(sys.argv[3]))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
