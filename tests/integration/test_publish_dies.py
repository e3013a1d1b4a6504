"""Publishers that die or fail at every single step, told by audit hooks; real processes, real disk.

Each test runs in a process of its own that imports the index and nothing else; its children are forked, so that
hundreds of deaths take seconds. A child publishes an index whose vectors all tell its number; a whole generation is one
whose ids, vectors, source and query tower agree on it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

NUM_DOCS = 50
#: Exit codes of a child whose disk refused: it raised our error; it could do without; the refusal hit the test's files.
TOLD, COPED, OWN = 3, 4, 5
#: What a publisher asks of the system, as Python's audit hooks tell it (PEP 578); fsync is counted beside them.
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock", "shutil.rmtree")


def write(folder: Path, number: int) -> str:
    """Publish generation content `number`: dimension, fingerprint, vectors and source all tell it."""
    space = Space("content", 2 + number % 7, f"model-{number}")
    tower = folder / f"tower-{number}"
    tower.mkdir(exist_ok=True)
    row = {"name": space.name, "dim": space.dim, "fingerprint": space.fingerprint, "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 4, "spaces": [row]}))
    vectors = np.zeros((NUM_DOCS, space.dim), np.float32)
    vectors[:, number % space.dim] = 1
    with GenerationWriter(folder / "index", [space]) as writer:
        for start in range(0, NUM_DOCS, 20):
            ids = [f"{number}-{i}" for i in range(start, min(start + 20, NUM_DOCS))]
            writer.add(ids, {"content": Embedded(vectors[: len(ids)], np.ones(len(ids), bool))})
        return writer.publish(query_tower=tower, source={"number": number})


def read(folder: Path) -> int:
    """Give the number of the generation that is served, after making sure that it is one whole generation."""
    index = ForwardIndex.open(folder / "index")
    index.verify()
    number = int(index.source["number"])
    assert index.spaces == (Space("content", 2 + number % 7, f"model-{number}"),)
    assert f"model-{number}" in (index.query_tower / "query_tower.json").read_text()
    ids = [f"{number}-{i}" for i in range(NUM_DOCS)]
    vectors, present = index.vectors("content", index.rows(ids))
    assert present.all()
    assert (vectors.argmax(axis=1) == number % vectors.shape[1]).all()
    return number


def unpublished(folder: Path) -> list[str]:
    return [path.name for path in (folder / "index" / "generations").iterdir() if path.name.startswith(".")]


def forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        os._exit(99)
    os._exit(0)


def at_step(number: int, harm: Callable[[], None]) -> None:
    """Do harm before the n-th step that this process asks of the system from now on."""
    counted = 0
    fsync = os.fsync

    def step(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal counted
        if event in STEPS:
            counted += 1
            if counted == number:
                harm()

    def counted_fsync(descriptor: int) -> None:
        step("open", ())
        fsync(descriptor)

    os.fsync = counted_fsync
    sys.addaudithook(step)


def die_at_every_step(tmp_path: Path) -> None:
    write(tmp_path, 0)
    served, seen, step = 0, set(), 0

    def die_there(step: int) -> None:
        at_step(step, lambda: os._exit(42))
        write(tmp_path, step)

    while True:
        step += 1
        _, status = os.waitpid(forked(partial(die_there, step)), 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 42)
        now = read(tmp_path)
        assert now in (served, step)
        seen.add("new" if now == step else "old")
        if code == 0:
            break
        if step % 5 == 0:  # the next publish succeeds, and removes every trace
            write(tmp_path, 100_000 + step)
            now = read(tmp_path)
            assert now == 100_000 + step
            assert unpublished(tmp_path) == []
            assert len(list((tmp_path / "index" / "generations").iterdir())) <= 2
        served = now
    assert seen == {"old", "new"}
    assert step > 60, "the steps were not counted"


def be_refused_at_every_step(tmp_path: Path) -> None:
    """What a step can do to us short of killing us: ENOSPC, raised from every open, rename, mkdir and fsync."""
    write(tmp_path, 0)
    served, step, codes = 0, 0, []

    def publish(step: int) -> None:
        refused = []

        def refuse() -> None:
            refused.append(step)
            raise OSError(errno.ENOSPC, "No space left on device")

        (tmp_path / f"tower-{step}").mkdir(exist_ok=True)
        at_step(step, refuse)
        try:
            write(tmp_path, step)
        except DataError as error:
            os._exit(TOLD if "No space left" in str(error) else 98)
        except OSError:
            os._exit(OWN)
        os._exit(COPED if refused else 0)

    while 0 not in codes:
        step += 1
        _, status = os.waitpid(forked(partial(publish, step)), 0)
        codes.append(os.waitstatus_to_exitcode(status))
        assert codes[-1] in (0, TOLD, COPED, OWN)
        now = read(tmp_path)
        assert now in (served, step)
        served = now
    assert codes.count(OWN) <= 2
    assert codes.count(TOLD) > 40
    write(tmp_path, 100_000)
    assert unpublished(tmp_path) == []


def fill_the_disk(tmp_path: Path) -> None:
    """A real short write (RLIMIT_FSIZE) instead of an injected one."""
    write(tmp_path, 0)

    def publish() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        space = Space("content", 256, "f")
        vectors = np.zeros((100, 256), np.float32)
        vectors[:, 0] = 1
        try:
            with GenerationWriter(tmp_path / "index", [space]) as writer:
                writer.add([str(i) for i in range(100)], {"content": Embedded(vectors, np.ones(100, bool))})
        except DataError as error:
            os._exit(3 if "File too large" in str(error) else 98)

    _, status = os.waitpid(forked(publish), 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert read(tmp_path) == 0
    assert unpublished(tmp_path) == []


#: Where there is a C compiler, tests/integration/crash does the same to real system calls, of more than publishers.
WHAT = ["fill_the_disk"] if shutil.which("cc") else ["die_at_every_step", "be_refused_at_every_step", "fill_the_disk"]


@pytest.mark.parametrize("what", WHAT)
def test_publishers_may(what, tmp_path):
    command = [sys.executable, __file__, what, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
