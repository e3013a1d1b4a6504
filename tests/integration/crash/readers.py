"""Readers that stay open, and readers that come and go, while generations are swapped and collected.

    readers.py FOLDER SWAPS SECONDS

One reader opens the index before the first swap and reads from it to the end: it must show its own state, whole, and
its files must not vanish. Two open the index anew again and again: states never go back. A fourth is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import states
from forks import fast_folder, fork, join

from mmsearch.index import ForwardIndex
from mmsearch.index.generations import collect, list_generations


def stay(index: Path, ready: int, stop: Path) -> None:
    """Read one generation until told to stop."""
    held = ForwardIndex.open(index, verify="none")
    first = states.check(held)
    os.write(ready, b"x")
    while not stop.exists():
        assert states.check(held) == first
        held.verify()
        time.sleep(0.005)


def come_and_go(index: Path, ready: int, stop: Path, result: Path) -> None:
    """Open the index anew until told to stop; write down how often, and by how much that made the process grow."""
    last, opened, at_first = 0, 0, 0
    process = psutil.Process()
    os.write(ready, b"x")
    while not stop.exists():
        now = states.read(index)
        assert now >= last, f"state {now} after {last}"
        last, opened = now, opened + 1
        if opened == 10:
            at_first = process.memory_info().rss
    grown = process.memory_info().rss - at_first if at_first else 0
    result.write_text(f"{opened} {grown} {process.num_fds()} {len(set(process.memory_maps(grouped=True)))}")


def wait_for(ready: int, count: int) -> None:
    """Wait until so many readers have said that they are open."""
    while count:
        count -= len(os.read(ready, count))


def swap(index: Path, swaps: int, seconds: float) -> None:
    """Publish, on and over one another, and collect after each."""
    for number in range(2, swaps + 2):
        action = ("overlay", "publish", "overlay", "compact", "overlay")[number % 5]
        states.KINDS[action](index, number)
        collect(index, keep=1)
        time.sleep(seconds / swaps)


def main() -> None:
    """Do what the command line says."""
    folder, swaps, seconds = fast_folder(Path(sys.argv[1]), "readers"), int(sys.argv[2]), float(sys.argv[3])
    index, stop = folder / "work" / "index", folder / "stop"
    ready, childs = os.pipe()
    try:
        states.publish(index, 0)
        states.overlay(index, 1)
        held = ForwardIndex.open(index).generation
        killed = fork(lambda: stay(index, childs, folder / "never"))
        readers = [fork(lambda: stay(index, childs, stop))]
        results = [folder / f"result-{at}" for at in range(2)]
        readers += [fork(lambda at=at: come_and_go(index, childs, stop, results[at])) for at in range(2)]
        wait_for(ready, 4)
        os.kill(killed, signal.SIGKILL)
        assert join(killed) == -signal.SIGKILL
        swap(index, swaps, seconds)
        infos = {info.name: info for info in list_generations(index)}
        assert infos[held].is_held, "collected while a reader had it open"
        assert infos[held].base in infos, "its base was collected"
        stop.touch()
        assert [join(child) for child in readers] == [0, 0, 0]
        removed = collect(index, keep=1)
        assert held in removed, "a reader that ended, or was killed, still holds it"
        told = [list(map(int, result.read_text().split())) for result in results]
    finally:
        shutil.rmtree(folder)
    for opened, grown, num_fds, _ in told:
        print(f"{swaps} swaps: a reader opened {opened} times, grew by {grown / 1e6:.1f} MB, {num_fds} files open")
        assert opened >= 5
        assert grown < 8e6
        assert num_fds < 20


if __name__ == "__main__":
    main()
