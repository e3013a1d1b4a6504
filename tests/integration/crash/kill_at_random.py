"""SIGKILL at random moments of publish, overlay, compaction, gc and rollback.

    kill_at_random.py FOLDER KILLS SEED

A child acts and keeps a journal (in a pipe): which state it is about to bring about, and when it has. After its death
the index must show the last state it finished or the one it was at, whole; then whatever comes next must succeed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import states
from forks import fast_folder, fork

KINDS = ("publish", "overlay", "overlay", "compact", "gc", "roll_back")


def act_on(index: Path, first: int, chance: random.Random, journal: int) -> None:
    """Act until killed. The journal has a line `KIND STATE` before an action, and `done` after it."""
    for number in range(first, first + 1000):
        kind = chance.choice(KINDS)
        wanted, act = states.plan(index, kind, number)
        os.write(journal, b"%s %d\n" % (kind.encode(), wanted))
        act()
        os.write(journal, b"done\n")


def legal(journal: list[str], before: int) -> tuple[set[int], str]:
    """Give the states that may be served after this journal, and the action that was cut short."""
    last, under_way = before, ""
    for at, line in enumerate(journal):
        if line != "done":
            under_way = line
        else:
            last, under_way = int(journal[at - 1].split()[1]), ""
    return {last} | ({int(under_way.split()[1])} if under_way else set()), under_way.split(" ")[0]


def kill_once(index: Path, before: int, first: int, chance: random.Random) -> tuple[int, str]:
    """Let a child act, kill it, and give the state that is served and the action that was cut short."""
    ours, childs = os.pipe()
    own = random.Random(chance.random())

    def work() -> None:
        os.close(ours)
        act_on(index, first, own, childs)

    child = fork(work)
    os.close(childs)
    told = os.read(ours, 1 << 16)  # it is at work now
    time.sleep(chance.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, "it ended by itself"
    while part := os.read(ours, 1 << 16):
        told += part
    os.close(ours)
    may_be, at = legal(told.decode().splitlines(), before)
    now = states.read(index)
    assert now in may_be, f"state {now} is served instead of one of {may_be}, after:\n{told.decode()}"
    return now, at


def main() -> None:
    folder, kills, seed = fast_folder(Path(sys.argv[1]), "kill"), int(sys.argv[2]), int(sys.argv[3])
    chance, cut_short = random.Random(seed), Counter[str]()
    index = folder / "work" / "index"
    try:
        states.publish(index, 0)
        now = 0
        for turn in range(1, kills + 1):
            now, at = kill_once(index, now, turn * 10_000, chance)
            cut_short[at or "between two"] += 1
            now = states.go_on(index, turn, turn * 10_000 + 5000)
            assert len(list((index / "generations").iterdir())) <= 8, "generations are not collected"
    finally:
        shutil.rmtree(folder)
    print(f"{kills} kills, seed {seed}: {dict(cut_short)}")
    assert kills < 1000 or set(KINDS) <= set(cut_short), "some action was never cut short"


if __name__ == "__main__":
    main()
