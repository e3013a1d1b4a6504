"""States of an index that are known beforehand, the actions that lead from one to the next, and a reader that checks.

State k says for each of a few dozen documents whether it is there and which value it has; vectors, presence and
content hashes follow from the value and from the model, a whole generation's model from its number. So whoever opens an
index can tell which state it shows, and whether anything in it belongs to another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.generations import collect, list_generations, serve
from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.follow.events import Row
from serving.follow.overlay import publish_compacted, publish_overlay
from serving.follow.served import STREAMS, Served

NUM_DOCS = 40
BATCH = 16
KEEP = 2


def doc_ids() -> list[str]:
    """Give the ids that a state can have."""
    return [f"doc-{i:03d}" for i in range(NUM_DOCS)]


def state(number: int) -> dict[str, int]:
    """Give the documents of a state and the value of each; neighbours differ in about a fifth of them."""
    values = {i: number - (number + 3 * i) % 7 for i in range(NUM_DOCS)}
    return {f"doc-{i:03d}": value for i, value in values.items() if (value + i) % 6}


def spaces(model: int) -> tuple[Space, ...]:
    """Give the spaces of a model: dimension and fingerprint tell it."""
    return Space("cover", 4 + model % 3, f"cover-{model}"), Space("content", 6, f"content-{model}", 2 + model % 2)


def _vectors(space: Space, values: Sequence[int]) -> Embedded:
    """Codes with two components that are not zero, 0.6 and 0.8: which and in which order tells the value."""
    rows = np.zeros((len(values), space.num_codes, space.dim), np.float32)
    for row, value in enumerate(values):
        for code in range(space.num_codes):
            place = (value + code) % space.dim
            rows[row, code, place], rows[row, code, (place + 1) % space.dim] = (0.6, 0.8) if value % 2 else (0.8, 0.6)
    present = np.array([space.name == "content" or value % 5 > 0 for value in values], bool)
    return Embedded(rows.reshape(len(values), -1), present)


def _contents(values: Sequence[int]) -> np.ndarray:
    hashes = np.zeros((len(values), 8), np.uint64)
    hashes[:, 0] = np.array(values, np.int64).astype(np.uint64) + np.uint64(1000)
    return hashes


def _add(writer: GenerationWriter, model: int, documents: dict[str, int]) -> None:
    ids = list(documents)
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        values = [documents[doc_id] for doc_id in some]
        writer.add(some, {s.name: _vectors(s, values) for s in spaces(model)}, _contents(values))


def tower(index: Path, model: int) -> Path:
    folder = index.parent.parent / f"tower-{model}"  # its making is none of what is tested
    folder.mkdir(exist_ok=True)
    rows = [
        {"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name, "num_codes": s.num_codes}
        for s in spaces(model)
    ]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 4, "spaces": rows}))
    (folder / "model.onnx").write_bytes(b"%d" % model * 1000)
    return folder


def publish(index: Path, number: int) -> None:
    """Publish a whole generation of state `number`."""
    with GenerationWriter(index, spaces(number), dtype=("float16", "int8", "float32")[number % 3]) as writer:
        _add(writer, number, state(number))
        writer.publish(query_tower=tower(index, number), source={STREAMS: _told_as(number, number)}, keep=KEEP)


def overlay(index: Path, number: int) -> None:
    """Publish state `number` as an overlay: what differs from the state that is served, as a follower does."""
    served = _served(index)
    shown, model = _told(served.index)
    before, after = state(shown), state(number)
    changed = [doc_id for doc_id in after if before.get(doc_id) != after[doc_id]]
    values = [after[doc_id] for doc_id in changed]
    columns = {space.name: _vectors(space, values) for space in spaces(model)}
    hashes = _contents(values)
    changes: dict[str, Row | None] = {doc_id: None for doc_id in before if doc_id not in after}
    for at, doc_id in enumerate(changed):
        one = slice(at, at + 1)
        row = {name: Embedded(e.vectors[one], e.present[one]) for name, e in columns.items()}
        changes[doc_id] = Row(row, hashes[one])
    publish_overlay(index, served, changes, _told_as(number, model))


def compact(index: Path, number: int) -> None:
    """Merge what is served into one whole generation of the same state."""
    publish_compacted(index, _served(index))


def _served(index: Path) -> Served:
    return Served(index, spaces(_told(ForwardIndex.open(index))[1]))


def _told_as(number: int, model: int) -> dict[str, dict[str, Any]]:
    """Give what a generation says of a stream: it outlives overlays and compaction."""
    return {"states": {"position": f"{number} {model}", "since": None}}


def _told(index: ForwardIndex) -> tuple[int, int]:
    """Give the state and the model that a generation says it holds."""
    number, model = index.source[STREAMS]["states"]["position"].split()
    return int(number), int(model)


def gc(index: Path, number: int) -> None:
    """Remove what is not needed."""
    collect(index, KEEP)


def _rolled_back(index: Path) -> str:
    """Give the newest other generation that was served."""
    infos = list_generations(index)
    others = [info for info in infos if not info.is_current]
    return max(others or infos, key=lambda info: info.number).name


KINDS: dict[str, Callable[[Path, int], None]] = {"publish": publish, "overlay": overlay, "compact": compact, "gc": gc}
ACTIONS = (*KINDS, "roll_back")


def plan(index: Path, action: str, number: int) -> tuple[int, Callable[[], None]]:
    """Give the state that an action leads to (state `number` where it makes a new one), and the action."""
    if action == "roll_back":
        target = _rolled_back(index)
        return _told(ForwardIndex.open(index, target))[0], partial(serve, index, target)
    new = action in ("publish", "overlay")
    return number if new else _told(ForwardIndex.open(index))[0], partial(KINDS[action], index, number)


def read(index: Path) -> int:
    """Give the state that is served, after making sure that it is that state and nothing else, byte by byte."""
    return check(ForwardIndex.open(index, verify="full"))


def check(index: ForwardIndex) -> int:
    """Give the state that an open index shows; whatever in it is of another state is an error."""
    number, model = _told(index)
    wanted = state(number)
    assert index.spaces == spaces(model), f"spaces of another model than {model}: {index.spaces}"
    assert (index.query_tower / "model.onnx").read_bytes() == b"%d" % model * 1000
    assert index.num_docs == len(wanted), f"{index.num_docs} documents instead of {len(wanted)}"
    rows = index.rows(doc_ids())
    found = {doc_id for doc_id, row in zip(doc_ids(), rows, strict=True) if row >= 0}
    assert found == set(wanted), f"state {number}: {found ^ set(wanted)}"
    rows, values = index.rows(list(wanted)), list(wanted.values())
    np.testing.assert_array_equal(index.contents(rows), _contents(values))
    for space in index.spaces:
        expected = _vectors(space, values)
        vectors, present = index.vectors(space.name, rows)
        np.testing.assert_array_equal(present, expected.present)
        close = np.abs(vectors - np.where(present[:, None], expected.vectors, 0)) < 0.005
        assert close.all(), f"state {number}: {space.name} has vectors of another one"
    return number


def traces(index: Path) -> list[str]:
    """Give what the next writer must have removed: unfinished folders, temporary files, generations never served."""
    hidden = [path.name for path in (index / "generations").glob(".*")]
    hidden += [path.name for path in index.glob(".CURRENT.*")]
    current = (index / "CURRENT").read_text().strip()
    return hidden + [p.parent.name for p in (index / "generations").glob("*/unserved") if p.parent.name != current]


def go_on(index: Path, turn: int, number: int) -> int:
    """Do what may come next (each kind of action in its turn): it succeeds and leaves no trace; give the new state."""
    action = ACTIONS[turn % len(ACTIONS)] if (index / "CURRENT").exists() else "publish"
    wanted, act = plan(index, action, number)
    act()
    if action in ("gc", "roll_back"):
        wanted = number
        publish(index, number)
    assert read(index) == wanted, f"{action} went wrong"
    assert traces(index) == []
    return wanted
