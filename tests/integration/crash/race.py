"""Writers that race for one index: each adds its own document to what is served; no document may be lost.

    race.py FOLDER RACES SEED

In each race four processes start at once. Who gets the lock reads what is served, adds a document and publishes; who
does not is told which process holds it.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import states
from forks import fast_folder, fork, join

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded

LANES = 4
REFUSED = 7


def add_one(index: Path, doc_id: str) -> str:
    """Publish what is served and one document more; give the generation's name."""
    spaces = states.spaces(0)
    with GenerationWriter(index, spaces) as writer:
        served = ForwardIndex.open(index)
        rows = np.flatnonzero(served.live())
        writer.add([served.doc_ids[row] for row in rows], {s.name: served.raw(s.name, rows) for s in spaces})
        one = {s.name: Embedded(np.eye(1, s.row_dim, dtype=np.float32), np.array([s.num_codes == 1])) for s in spaces}
        writer.add([doc_id], one)
        return writer.publish(query_tower=states.tower(index, 0), source={})


def lane(index: Path, doc_id: str, start: int, wait_s: float, result: Path) -> int:
    """Wait for the start, then write down the published generation, or the process that was in the way."""
    os.read(start, 1)
    time.sleep(wait_s)
    try:
        name = add_one(index, doc_id)
    except DataError as error:
        holder = re.search(r"process (\d+) is publishing here", str(error))
        if holder is None:
            raise
        result.write_text(holder[1])
        return REFUSED
    result.write_text(name)
    return 0


def begin(index: Path) -> None:
    """Publish one document without vectors."""
    with GenerationWriter(index, states.spaces(0)) as writer:
        empty = {s.name: Embedded(np.zeros((1, s.row_dim), np.float32), np.zeros(1, bool)) for s in states.spaces(0)}
        writer.add(["first"], empty)
        writer.publish(query_tower=states.tower(index, 0), source={})


def race(folder: Path, number: int, chance: random.Random) -> tuple[list[str], int]:
    """Let four processes race; give the documents that were published, and how many were refused."""
    start, go = os.pipe()
    results = [folder / f"result-{at}" for at in range(LANES)]
    children = []
    for at in range(LANES):
        wait_s = chance.uniform(0, 0.002)
        work = partial(lane, folder / "work" / "index", f"{number}-{at}", start, wait_s, results[at])
        children.append(fork(work))
    os.write(go, b"x" * LANES)
    codes = [join(child) for child in children]
    os.close(start)
    os.close(go)
    assert set(codes) <= {0, REFUSED}
    assert 0 in codes, "nobody won"
    told = [result.read_text() for result in results]
    won = [name for name, code in zip(told, codes, strict=True) if code == 0]
    assert len({name[1:7] for name in won}) == len(won), f"one version has two winners: {won}"
    refused = [holder for holder, code in zip(told, codes, strict=True) if code == REFUSED]
    assert {int(holder) for holder in refused} <= set(children), "the loser is told of a stranger"
    return [f"{number}-{at}" for at, code in enumerate(codes) if code == 0], len(refused)


def main() -> None:
    """Do what the command line says."""
    folder, races, seed = fast_folder(Path(sys.argv[1]), "race"), int(sys.argv[2]), int(sys.argv[3])
    index, chance, published, refused = folder / "work" / "index", random.Random(seed), 0, 0
    try:
        for number in range(races):
            if number % 100 == 0:  # begin anew: what is published grows by up to four documents a race
                shutil.rmtree(index, ignore_errors=True)
                begin(index)
                wanted = {"first"}
            won, lost = race(folder, number, chance)
            wanted |= set(won)
            published, refused = published + len(won), refused + lost
            served = ForwardIndex.open(index, verify="full")
            assert set(served.doc_ids) == wanted, f"an update was lost: {wanted - set(served.doc_ids)}"
            assert int(served.generation[1:7]) == len(wanted)
    finally:
        shutil.rmtree(folder)
    print(f"{races} races of {LANES}, seed {seed}: {published} published, {refused} refused by name of the holder")
    assert refused, "they never met"


if __name__ == "__main__":
    main()
