"""Read every file of generations and tell what is damaged, and how many vectors that costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmsearch.errors import CorruptIndexError
from mmsearch.files import hash_file
from mmsearch.index.column import Column
from mmsearch.index.layout import MANIFEST, ann_of, blocks_file, generations_of, present_file, scales_file, vectors_file
from mmsearch.index.lease import Lease
from mmsearch.index.manifest import Manifest, StoredFile, StoredSpace, read_manifest
from mmsearch.index.recall.files import list_ann
from mmsearch.logs import ProgressBar, progress


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was published.

    Args:
        file: relative to the index.
        problem: what is wrong with it.
        num_vectors: vectors of present documents that cannot be used for it; None where that is not what it holds, or
            where it cannot be told which (formats 1 and 2 hold no checksums of blocks).
    """

    file: str
    problem: str
    num_vectors: int | None = None


@dataclass(slots=True)
class Verification:
    """What was read of a generation: its files, their bytes, how long it took, and what is damaged."""

    generation: str
    num_files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    damaged: list[Damage] = field(default_factory=list)


def verify_generation(index_dir: Path, name: str) -> list[Verification]:
    """Read a generation, and its base where it has one, and the faiss indexes built from them.

    Unlike `ForwardIndex.verify` this goes on after what it finds, and counts vectors. The generation is held meanwhile.

    Args:
        index_dir: the index.
        name: name of the generation.

    Raises:
        CorruptIndexError: there is no such generation.
        FormatVersionError: a newer mmsearch wrote it.
    """
    folder = generations_of(index_dir) / name
    lease = Lease(folder)
    found, start = Verification(name), time.perf_counter()
    try:
        manifest = read_manifest(folder, name)
    except CorruptIndexError as error:  # all that is known of the others stood there
        found.damaged.append(Damage(f"{_inside(index_dir, folder)}/{MANIFEST}", str(error)))
        return [found]
    _verify_files(index_dir, folder, manifest, found)
    _verify_ann(index_dir, name, found)
    found.seconds = time.perf_counter() - start
    del lease
    return [found, *(verify_generation(index_dir, manifest.base) if manifest.base else [])]


def _verify_files(index_dir: Path, folder: Path, manifest: Manifest, found: Verification) -> None:
    bad: dict[str, str] = {}
    with progress(f"verify {folder.name}", sum(file.bytes for file in manifest.files.values()), unit="bytes") as bar:
        for name, stored in manifest.files.items():
            problem = _problem(folder / name, stored, bar)
            if problem:
                bad[name] = problem
            found.num_files += 1
            found.bytes += stored.bytes
    lost = {name: (space, _lost(folder, manifest, space, bad)) for space in manifest.spaces for name in _files(space)}
    for name, problem in bad.items():
        space_lost = lost[name][1] if name in lost else None
        found.damaged.append(Damage(f"{_inside(index_dir, folder)}/{name}", problem, space_lost))


def _problem(path: Path, stored: StoredFile, bar: ProgressBar) -> str | None:
    try:
        size = path.stat().st_size
        if size != stored.bytes:
            return f"has {size:,} bytes instead of {stored.bytes:,}"
        same = hash_file(path) == stored.xxh3
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    bar.advance(size)
    return None if same else "its bytes are not those that were published"


def _files(space: StoredSpace) -> Iterator[str]:
    yield vectors_file(space.name)
    yield present_file(space.name)
    yield scales_file(space.name)
    yield blocks_file(space.name)


def _lost(folder: Path, manifest: Manifest, space: StoredSpace, bad: dict[str, str]) -> int | None:
    """Give how many vectors of a space cannot be used; None when it cannot be told."""
    if not any(name in bad for name in _files(space)):
        return 0
    if blocks_file(space.name) in bad or blocks_file(space.name) not in manifest.files:
        return None
    try:
        column = Column(folder, space, manifest.num_docs, lazy=True)
    except (CorruptIndexError, OSError):  # cut or missing: a reader does not open it at all
        return None
    rows = np.flatnonzero(column.present)
    return int(np.count_nonzero(~column.sound(rows)))


def _verify_ann(index_dir: Path, name: str, found: Verification) -> None:
    folder = ann_of(index_dir) / name
    told = {ann.file: StoredFile(bytes=ann.bytes, xxh3=ann.xxh3) for ann in list_ann(index_dir, name)}
    with progress(f"verify ann of {name}", sum(file.bytes for file in told.values()), unit="bytes") as bar:
        for file, stored in told.items():
            problem = _problem(folder / file, stored, bar)
            if problem:
                found.damaged.append(Damage(f"{_inside(index_dir, folder)}/{file}", problem))
            found.num_files += 1
            found.bytes += stored.bytes


def _inside(index_dir: Path, folder: Path) -> str:
    return folder.relative_to(index_dir).as_posix()
