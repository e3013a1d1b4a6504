"""Die at, or be refused, each call by which a refresh changes the disk. Run under the shim.

    refresh_calls.py FOLDER die | torn | ENOSPC | EIO | EMFILE | EACCES [full]

Yesterday's index or today's is served after each, byte by byte, and the next refresh ends with the bytes of one that
was never disturbed.
"""

from __future__ import annotations

import errno
import logging
import os
import runpy
import shutil
import sys
import traceback
from collections import Counter
from functools import partial
from pathlib import Path

from forks import fast_folder, fork, join
from shim import Shim

from mmsearch.errors import MmsearchError
from mmsearch.index import ForwardIndex
from serving.refresh import refresh
from serving.settings import RefreshSettings

GIVEN = runpy.run_path(str(Path(__file__).parents[1] / "refresh" / "conftest.py"))
SETTINGS = RefreshSettings(batch_size=4, shard_size=8, check_sample=2)
TOLD, COPED, BARE = 3, 4, 5


def prepare(folder: Path) -> None:
    """Write the corpora of two days, the index of the first, and one that was brought to the second in peace."""
    for day in range(2):
        titles = {f"v{i}": f"title {i} of day {day * (i % 3 == 0)}" for i in range(20 + 4 * day)}
        GIVEN["write_corpus"](folder / f"corpus-{day}", titles, 16)
    bring(folder, 0, "template")
    shutil.copytree(folder / "template", folder / "undisturbed")
    bring(folder, 1, "undisturbed")


def bring(folder: Path, day: int, name: str) -> None:
    """Bring an index to a day."""
    encoder = GIVEN["Encoder"]()
    corpus = GIVEN["PreparedCorpus"].open(folder / f"corpus-{day}")
    refresh(corpus, encoder, encoder.export, folder / name / "index", SETTINGS)


def served(folder: Path, name: str) -> dict[str, bytes]:
    """Give what is served, byte by byte, after reading it whole."""
    ForwardIndex.open(folder / name / "index", verify="full")
    found: dict[str, bytes] = GIVEN["read_served"](folder / name / "index")
    return found


def harmed(folder: Path, turn: int, how: str, *, full: bool) -> int:
    """Refresh, and be harmed at the n-th call; give what came of it."""
    shim = Shim(folder / "work")
    if how in ("die", "torn"):
        shim.die(turn, torn=how == "torn")
        bring(folder, 1, "work")
        return 0
    error = getattr(errno, how)
    warned: list[str] = []
    told_by(warned)
    shim.fail(turn, error, keep_on=full)
    try:
        bring(folder, 1, "work")
    except MmsearchError as raised:
        told, reason = "\n".join([*warned, str(raised)]), os.strerror(error)
        assert reason in told, f"{shim.last} gave {reason}, and the user reads: {told}"
        return TOLD
    except OSError:
        traceback.print_exc()
        return BARE
    return COPED if shim.failed else 0


def told_by(messages: list[str]) -> None:
    """Keep what the log tells the user."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("serving").addHandler(handler)


def each_call(folder: Path, how: str, *, full: bool) -> Counter[int]:
    """Be harmed at each call in turn; count what came of it."""
    assert join(fork(partial(prepare, folder))) == 0
    old, new = served(folder, "template"), served(folder, "undisturbed")
    codes: Counter[int] = Counter()
    turn = 0
    while 0 not in codes:
        turn += 1
        shutil.rmtree(folder / "work", ignore_errors=True)
        shutil.copytree(folder / "template", folder / "work")
        code = join(fork(partial(harmed, folder, turn, how, full=full)))
        assert code in ((0, -9) if how in ("die", "torn") else (0, TOLD, COPED, BARE)), f"call {turn}: {code}"
        codes[code] += 1
        now = served(folder, "work")
        assert now in (old, new), f"call {turn}: neither yesterday's index nor today's"
        assert now == new or code not in (0, COPED), f"call {turn}: nothing was done, and nobody was told"
        assert join(fork(partial(bring, folder, 1, "work"))) == 0, f"the refresh after call {turn} failed"
        assert served(folder, "work") == new, f"other bytes after call {turn}"
        assert now == new or not (folder / "work" / "index" / ".work").exists()  # nothing to do clears nothing
    return codes


def main() -> None:
    """Do what the command line says."""
    folder, how, full = fast_folder(Path(sys.argv[1]), "refresh"), sys.argv[2], "full" in sys.argv
    try:
        codes = each_call(folder, how, full=full)
    finally:
        shutil.rmtree(folder)
    names = {-9: "died", TOLD: "told", COPED: "could do without", BARE: "bare errors", 0: "undisturbed"}
    print(f"refresh, {how}{' from there on' * full}: { {names[code]: count for code, count in codes.items()} }")
    assert codes.total() > 50, "the calls were not counted"
    assert not codes[BARE], "an error of the system came out as it was"


if __name__ == "__main__":
    main()
