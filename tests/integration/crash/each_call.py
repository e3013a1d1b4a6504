"""Die at, or be refused, each call by which an action changes the disk. Run under the shim.

each_call.py FOLDER ACTION,… die | torn: old or new state, and the next writer succeeds
each_call.py FOLDER ACTION,… ENOSPC | EIO | EMFILE | EACCES [full]: an error of ours that tells the reason, old or
    new state, nothing leaks, and the same process can go on
... quick: what comes next is tried after every fourth harm, instead of each
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import states
from forks import fast_folder, fork, join
from shim import Shim

from mmsearch.errors import DataError, MmsearchError

#: Exit codes of a child that was refused something: it raised our error, it could do without, it raised a bare OSError.
TOLD, COPED, BARE = 3, 4, 5
NEXT, FIRST = 500, 1000


def template(folder: Path, action: str) -> int:
    """Make an index with enough generations that every action has something to do; give the state that is served."""
    index = folder / "template" / "index"
    index.parent.mkdir()
    if action == "first":
        return -1
    states.KEEP = 10
    for number, kind in enumerate(("publish", "overlay", "publish", "overlay")):
        states.KINDS[kind](index, number)
    states.KEEP = 1
    return states.read(index)


def read(index: Path) -> int:
    """Give the state that is served; -1 while nothing was published."""
    try:
        return states.read(index)
    except DataError as error:
        if "no index here" not in str(error) or (index / "CURRENT").exists():
            raise
        return -1


def die(folder: Path, action: str, every: int, *, torn: bool) -> None:
    """Die before each call, or in the middle of each write."""
    before = template(folder, action)
    seen: Counter[str] = Counter()
    turn, code = 0, -9
    while code == -9:
        turn += 1
        index, after, act = start(folder, action)

        def die_there(turn: int = turn, act: Callable[[], None] = act) -> None:
            Shim(folder / "work").die(turn, torn=torn)
            act()

        code = join(fork(die_there))
        assert code in (0, -9), f"call {turn}: exit code {code}"
        now = read(index)
        assert now in (before, after), f"call {turn}: state {now} instead of {before} or {after}"
        seen["new" if now == after else "old"] += 1
        if turn % every == 0:
            states.go_on(index, turn // every, FIRST + turn)
    print(f"{action}: died at {turn - 1} calls{' (torn)' * torn}: {dict(seen)}")
    assert turn > (5 if action == "roll_back" else 25), "the calls were not counted"
    assert before == after or set(seen) == {"old", "new"}


def refuse(folder: Path, action: str, every: int, error: int, *, full: bool) -> None:
    """Be refused each call that can give an error: once, or (full) from there on."""
    before = template(folder, action)
    codes: Counter[int] = Counter()
    turn = 0
    while 0 not in codes:
        turn += 1
        index, after, act = start(folder, action)

        def be_refused(turn: int = turn, act: Callable[[], None] = act, after: int = after) -> int:
            shim = Shim(folder / "work")
            shim.fail(turn, error, keep_on=full)
            return refused(folder / "work" / "index", act, shim, error, (before, after))

        code = join(fork(be_refused))
        assert code in (0, TOLD, COPED, BARE), f"call {turn}: exit code {code}"
        codes[code] += 1
        if turn % every == 0:
            states.go_on(index, turn // every, FIRST + turn)
    told = f"{codes[TOLD]} told, {codes[COPED]} could do without"
    print(f"{action}: {errno.errorcode[error]}{' from there on' * full} at {turn - 1} calls: {told}")
    assert codes[TOLD], "nothing was ever refused"
    assert not codes[BARE], "an error of the system came out as it was"


def refused(index: Path, act: Callable[[], None], shim: Shim, error: int, legal: tuple[int, int]) -> int:
    """Act, be refused, look at what is served, and go on in the same process when there is room again."""
    open_before = len(os.listdir("/proc/self/fd"))
    code, told = 0, ""
    try:
        act()
    except MmsearchError as raised:
        told, code = str(raised), TOLD
    except OSError:
        traceback.print_exc()
        code = BARE
    what, code = shim.last, code or (COPED if shim.failed else 0)
    assert code != TOLD or os.strerror(error) in told, f"{what} gave {os.strerror(error)}, and the user reads: {told}"
    shim.off()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == open_before, f"a file stayed open after {what} failed"
    now = read(index)
    assert now in legal, f"state {now} after {what} failed"
    assert now == legal[1] or code in (TOLD, BARE), f"{what} failed, and nobody was told"
    states.publish(index, FIRST)
    assert states.read(index) == FIRST
    return code


def start(folder: Path, action: str) -> tuple[Path, int, Callable[[], None]]:
    """Give a fresh copy of the template, the state that the action leads to, and the action."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder / "template", work, copy_function=os.link)  # whatever changes there is replaced
    index = work / "index"
    if action == "first":
        return index, NEXT, partial(states.publish, index, NEXT)
    return index, *states.plan(index, action, NEXT)


def main() -> None:
    """Do what the command line says."""
    actions, how, every = sys.argv[2].split(","), sys.argv[3], 4 if "quick" in sys.argv else 1
    for action in actions:
        folder = fast_folder(Path(sys.argv[1]), action)
        try:
            if how in ("die", "torn"):
                die(folder, action, every, torn=how == "torn")
            else:
                refuse(folder, action, every, getattr(errno, how), full="full" in sys.argv)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
