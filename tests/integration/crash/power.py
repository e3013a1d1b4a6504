"""Lose power at each call of an action, in many ways, and look at what a reader finds then. Run under the shim.

power.py FOLDER ACTION,… WAYS SEED
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import states
from disk import Call, Disk, fates, fresh, read_trace, same
from each_call import FIRST, read, start, template
from forks import fast_folder, fork, join
from shim import Shim

from mmsearch.errors import MmsearchError


def traced(folder: Path, action: str) -> tuple[Disk, list[Call], int, int]:
    """Act once under the trace; give the disk as it was before, the calls, and the states before and after."""
    before = template(folder, "first" if action == "careless" else action)
    _, after, deed = start(folder, "first" if action == "careless" else action)
    work = folder / "work"
    disk = Disk(work)

    def act() -> None:
        shim = Shim(work)
        shim.trace(folder / "trace")
        if action == "careless":  # not a single fsync: the model must find states that cannot be read
            os.fsync = lambda descriptor: None
        deed()
        assert shim.unmodelled == 0, f"the model does not know {shim.last}"

    assert join(fork(act)) == 0
    return disk, list(read_trace(folder / "trace")), before, after


def lose(folder: Path, action: str, ways: int, chance: random.Random) -> Counter[str]:
    """Give what readers found, counted."""
    disk, calls, before, after = traced(folder, action)
    found: Counter[str] = Counter()
    lost = folder / "lost"
    for at in range(len(calls) + 1):
        for fate in fates(chance, ways if disk.uncertain() else 0):
            disk.lose_power(fresh(lost), fate)
            found[_found(lost / "index", before, after, is_over=at == len(calls))] += 1
            if sum(found.values()) % 10 == 0 and action != "careless":
                states.go_on(lost / "index", sum(found.values()) // 10, FIRST)
        if at < len(calls):
            disk.apply(calls[at])
    disk.lose_power(fresh(lost), lambda: 0.6)
    assert same(lost, folder / "work"), "the model lost something by itself"
    return found


def _found(index: Path, before: int, after: int, *, is_over: bool) -> str:
    try:
        now = read(index)
    except MmsearchError as error:
        return f"bad: {type(error).__name__}: {error}".replace(str(index), "INDEX")[:160]
    if is_over and now != after:
        return f"bad: state {now} after the action was over"
    return "new" if now == after else "old" if now == before else f"bad: state {now}"


def main() -> None:
    actions, ways, seed = sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])
    for action in actions:
        folder = fast_folder(Path(sys.argv[1]), action)
        try:
            found = lose(folder, action, ways, random.Random(seed))
        finally:
            shutil.rmtree(folder)
        bad = {what: count for what, count in found.items() if what.startswith("bad")}
        print(f"{action}: power lost {sum(found.values())} times, seed {seed}: {found['old']} old, {found['new']} new")
        assert bool(bad) == (action == "careless"), bad or "what is never synced was never lost"


if __name__ == "__main__":
    main()
