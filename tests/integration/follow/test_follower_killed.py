"""A follower that is killed at random moments, again and again, while lines arrive, and refreshes publish bases."""

from __future__ import annotations

import contextlib
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex
from mmsearch.index.lock import BusyIndexError
from serving.follow.settings import FollowSettings

SETTINGS = FollowSettings(max_delay_s=0.02, compact_above=0.2, status_every_s=0.05, max_waiting=64)
#: Lines that a follower has to bring in between two kills, at most.
BURST = 8


@pytest.mark.slow
@pytest.mark.parametrize("kills", [25, pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])])
def test_kill_9_loses_nothing_and_no_reader_sees_a_version_go_back(tmp_path, kills):
    """In a process of its own: the children are forked."""
    command = [sys.executable, __file__, str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == kills
    assert told["generations"] > kills / 8
    assert told["compactions"] > 0


class Journal:
    """The lines of the stream, and what is to be served after each."""

    def __init__(self, folder: Path, titles: Mapping[str, str], given: Mapping[str, object]) -> None:
        self.path, self.given, self.chance = folder / "1.jsonl", given, random.Random(5)
        self.states = [dict(titles)]
        self.least: dict[str, int] = {}

    def write(self, count: int) -> None:
        """Append lines; the last in two pieces, so that a reader may see half of it."""
        text = ""
        for _ in range(count):
            state, doc_id = dict(self.states[-1]), f"v{self.chance.randrange(40)}"
            if self.chance.random() < 0.3:
                state.pop(doc_id, None)
                text += self.given["delete"](doc_id)
            else:
                state[doc_id] = f"title {len(self.states)}"
                text += self.given["upsert"](doc_id, state[doc_id])
            self.states.append(state)
        with self.path.open("a") as file:
            for part in (text[:-7], text[-7:]):
                file.write(part)
                file.flush()

    def check(self, served: ForwardIndex) -> None:
        """Check that every video is as it was after some line, and not before what was seen of it.

        A line may be passed over when a later one of the same video was read before its vectors were made.
        """
        for doc_id in {doc_id for state in self.states for doc_id in state}:
            row = served.rows([doc_id])
            vector = served.vectors("content", row)[0][0] if row[0] >= 0 else None
            least = self.least.get(doc_id, 0)
            fits = (n for n in range(least, len(self.states)) if self._is(vector, self.states[n].get(doc_id)))
            found = next(fits, None)
            assert found is not None, f"{doc_id} is as it never was after line {least}"
            self.least[doc_id] = found

    def _is(self, vector: np.ndarray | None, title: str | None) -> bool:
        if vector is None or title is None:
            return vector is None and title is None
        return np.array_equal(vector, self.given["vector_of"](title, self.given["Encoder"]().spaces[1]))


def follow(given: Mapping[str, object], index: Path, stream: Path) -> None:
    follower = given["Stepped"](index, str(stream), SETTINGS, time.monotonic).follower
    while True:
        follower.step()
        time.sleep(0.001)


def num_lines(index: ForwardIndex, stream: Path) -> int | None:
    """Tell how many lines are in a generation; None where a refresh published it."""
    told = index.source.get("streams", {}).get(str(stream))
    return None if told is None else 0 if told["position"] is None else told["position"]["line"]


def seconds_of_a_round(given: Mapping[str, object], index: Path, stream: Path, journal: Journal) -> float:
    """Give the time that this machine, as busy as it is, takes from a line to a generation."""
    follower, before, start = given["Stepped"](index, str(stream), SETTINGS, time.monotonic), 0, time.monotonic()
    for _ in range(5):
        journal.write(2)
        while num_lines(ForwardIndex.open(index), stream) in (None, before):
            follower.steps(1)
        before = len(journal.states) - 1
    follower.close()
    return (time.monotonic() - start) / 5


def kill_again_and_again(tmp_path: Path, kills: int) -> dict[str, int]:
    given = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    index, stream, chance = tmp_path / "index", tmp_path / "stream", random.Random(8)
    stream.mkdir()
    titles = {f"v{number}": f"old {number}" for number in range(30)}
    given["publish_base"](index, titles)
    journal, seen, bases, lines = Journal(stream, titles, given), set(), set(), 0
    round_s = seconds_of_a_round(given, index, stream, journal)
    for number in range(kills):
        journal.write(chance.randrange(BURST))
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                follow(given, index, stream)
            os._exit(9)
        end = time.monotonic() + chance.uniform(0.0, 2 * round_s)
        time.sleep(chance.uniform(0.0, round_s))
        journal.write(chance.randrange(BURST))
        time.sleep(max(0.0, end - time.monotonic()))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "the follower ended by itself"
        served = ForwardIndex.open(index, verify="full")
        seen.add(served.generation)
        bases.add(served.base or served.generation)
        now = num_lines(served, stream)
        if now is not None:
            assert now >= lines, "the stream went back"
            lines = now
            journal.check(served)
        if number % 20 == 19:  # a refresh of a table that is a few lines old
            with contextlib.suppress(BusyIndexError):
                given["publish_base"](index, journal.states[max(0, len(journal.states) - 12)])
                journal.least.clear()
                lines = 0
    follower = given["Stepped"](index, str(stream), SETTINGS, time.monotonic)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        follower.steps()
        with contextlib.suppress(AssertionError, DataError):
            given["check_served"](index, journal.states[-1])
            break
        time.sleep(0.01)
    given["check_served"](index, journal.states[-1])
    assert [path.name for path in (index / "generations").iterdir() if path.name.startswith(".")] == []
    refreshes = 1 + kills // 20
    return {
        "kills": kills,
        "generations": len(seen),
        "compactions": len(bases) - refreshes,
        "lines": len(journal.states),
    }


if __name__ == "__main__":
    print(json.dumps(kill_again_and_again(Path(sys.argv[1]), int(sys.argv[2]))))
