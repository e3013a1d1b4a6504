"""Readers in other processes, while generations and overlays come and go. Each test is a process that forks them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from mmsearch.index import ForwardIndex, GenerationWriter, collect, list_generations
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACE = Space("content", 4, "model")
IDS = [str(i) for i in range(50)]


def write(folder: Path, number: int, base: str | None = None) -> str:
    """Publish: each vector points to axis `number % 4`; an overlay brings half of the documents, less the last."""
    tower = folder / "tower"
    tower.mkdir(exist_ok=True)
    row = {"name": SPACE.name, "dim": SPACE.dim, "fingerprint": SPACE.fingerprint, "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 4, "spaces": [row]}))
    ids = IDS if base is None else IDS[:25]
    vectors = np.zeros((len(ids), 4), np.float32)
    vectors[:, number % 4] = 1
    with GenerationWriter(folder / "index", [SPACE], dtype="int8", base=base) as writer:
        writer.add(ids, {"content": Embedded(vectors, np.ones(len(ids), bool))})
        if base is not None:
            writer.delete(IDS[-1:])
        source = {"number": number, "base": number - 1}
        return writer.publish(query_tower=tower if base is None else None, source=source, keep=1)


def check(index: ForwardIndex) -> None:
    """Read every file by its name, and every vector."""
    index.verify()
    rows = index.rows(IDS)
    vectors, present = index.vectors("content", rows)
    axes = np.full(50, index.source["number"] % 4)
    gone = 0
    if index.base is not None:
        axes[25:] = index.source["base"] % 4
        gone = 1
    assert present.sum() == index.num_docs == 50 - gone
    assert (vectors[present].argmax(axis=1) == axes[: 50 - gone]).all()


def forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(99)
    os._exit(0)


def stay_through_ten_swaps(tmp_path: Path) -> None:
    """One reader keeps what it opened first; three open anew when they please; the publisher keeps next to nothing."""
    write(tmp_path, 0)
    held = [ForwardIndex.open(tmp_path / "index")]
    stop = tmp_path / "stop"

    def stay() -> None:
        while not stop.exists():
            check(held[0])

    def come_and_go(seed: int) -> None:
        chance, opened = random.Random(seed), 0
        while not stop.exists() or opened < 3:
            index = ForwardIndex.open(tmp_path / "index")
            opened += 1
            for _ in range(chance.randrange(1, 6)):
                check(index)

    readers = [forked(stay), *(forked(lambda seed=seed: come_and_go(seed)) for seed in range(3))]
    for number in range(1, 11):
        name = write(tmp_path, 2 * number)
        write(tmp_path, 2 * number + 1, base=name)
        collect(tmp_path / "index", keep=1)
    stop.touch()
    for reader in readers:
        assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0
    check(held[0])
    oldest = held[0].generation
    assert [g.name for g in list_generations(tmp_path / "index") if g.is_held] == [oldest]
    held.clear()
    assert oldest in collect(tmp_path / "index", keep=1)
    assert len(list_generations(tmp_path / "index")) <= 4


def be_killed(tmp_path: Path) -> None:
    """The kernel lets go of what a reader held, however it dies."""
    names = [write(tmp_path, 0)]

    def hold() -> None:
        index = ForwardIndex.open(tmp_path / "index")
        (tmp_path / "ready").write_text(index.generation)
        time.sleep(60)

    reader = forked(hold)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    names += [write(tmp_path, number) for number in range(1, 4)]
    assert [g.name for g in list_generations(tmp_path / "index") if g.is_held] == names[:1]
    assert collect(tmp_path / "index", keep=1) == []
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    assert collect(tmp_path / "index", keep=1) == names[:1]


def share_their_pages(tmp_path: Path) -> None:
    """Eight readers of 32 MiB of vectors take little more than one."""
    num, space = 16384, Space("content", 1024, "model")
    tower = tmp_path / "tower"
    tower.mkdir()
    row = {"name": space.name, "dim": space.dim, "fingerprint": space.fingerprint, "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 4, "spaces": [row]}))
    with GenerationWriter(tmp_path / "index", [space]) as writer:
        for start in range(0, num, 1024):
            vectors = np.zeros((1024, space.dim), np.float32)
            vectors[:, start % 7] = 1
            ids = [str(i) for i in range(start, start + 1024)]
            writer.add(ids, {"content": Embedded(vectors, np.ones(1024, bool))})
        writer.publish(query_tower=tower, source={})
    size = sum(g.bytes for g in list_generations(tmp_path / "index"))

    def read(number: int) -> None:
        index = ForwardIndex.open(tmp_path / "index")
        index.warm()
        assert index.vectors("content", np.arange(0, num, 16))[1].all()
        (tmp_path / f"ready-{number}").touch()
        time.sleep(60)
        del index

    readers = [forked(lambda number=number: read(number)) for number in range(8)]
    while len(list(tmp_path.glob("ready-*"))) < 8:
        time.sleep(0.01)
    mapped = [m for pid in readers for m in psutil.Process(pid).memory_maps() if "generations" in m.path]
    for reader in readers:
        os.kill(reader, signal.SIGKILL)
        os.waitpid(reader, 0)
    assert sum(m.rss for m in mapped) > 7 * size, "each has all of it"
    assert sum(m.pss for m in mapped) < 1.1 * size, "and all have it together"


@pytest.mark.parametrize("what", ["stay_through_ten_swaps", "be_killed", "share_their_pages"])
def test_readers_may(what, tmp_path):
    command = [sys.executable, __file__, what, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
