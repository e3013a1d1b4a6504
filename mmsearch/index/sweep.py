"""What an index need not keep: traces of crashed writers, and generations that nobody goes back to."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from mmsearch.errors import DataError, IntegrityError
from mmsearch.index.layout import DELETED, UNSERVED, ann_of, generations_of, read_current, split_name
from mmsearch.index.lease import sole_holder
from mmsearch.index.manifest import read_manifest


def check_keep(keep: int) -> None:
    """Refuse to keep nothing.

    Raises:
        DataError: `keep` is below 1.
    """
    if keep < 1:
        raise DataError(f"keep is {keep}; keep one generation or more")


def names_of(index_dir: Path) -> list[str]:
    """Give the names of all generations that are there, oldest first, whole or not."""
    generations = generations_of(index_dir)
    found = [path.name for path in generations.iterdir()] if generations.is_dir() else []
    return sorted((name for name in found if split_name(name) is not None), key=number_of)


def number_of(name: str) -> int:
    """Give the running number of a generation."""
    split = split_name(name)
    return 0 if split is None else split[0]


def next_number(index_dir: Path) -> int:
    """Give the number after the highest one that a generation has."""
    return max(map(number_of, names_of(index_dir)), default=0) + 1


def sweep_traces(index_dir: Path) -> str | None:
    """Remove what crashed writers left, and generations that were never served. Call it with the write lock held.

    Returns:
        The name of the generation that is served; None when there is none that can be read.
    """
    generations = generations_of(index_dir)
    for left in (*index_dir.glob(".CURRENT.*.tmp"), *generations.glob(".*")):
        _remove(left)
    current = _current(index_dir)
    if current is not None:
        (generations / current / UNSERVED).unlink(missing_ok=True)
    if current is not None or not (index_dir / "CURRENT").exists():
        for name in names_of(index_dir):
            if (generations / name / UNSERVED).exists():
                _remove(_hide(generations / name))
    return current


def sweep_old(index_dir: Path, keep: int) -> list[str]:
    """Remove generations that are not needed any more. Call it with the write lock held.

    Stays: what is served and its parent; the newest `keep` that stand alone, and the newest `keep` overlays; whatever a
    reader holds; and the bases of all of these. When what is served cannot be read, everything stays: there may be
    something to rescue by hand.

    Returns:
        The names of those removed.
    """
    current = _current(index_dir)
    if current is None:
        return []
    generations, removed = generations_of(index_dir), []
    kept = _kept_by_rule(index_dir, current, keep)
    for name in reversed(names_of(index_dir)):  # an overlay before its base: it decides whether that is needed
        if name in kept:
            continue
        with sole_holder(generations / name) as alone:
            hidden = _hide(generations / name) if alone else None
        if hidden is None:
            kept |= _with_base(generations / name)
        else:
            _remove(hidden)
            shutil.rmtree(ann_of(index_dir) / name, ignore_errors=True)
            removed.append(name)
    return removed


def _kept_by_rule(index_dir: Path, current: str, keep: int) -> set[str]:
    generations, newest = generations_of(index_dir), names_of(index_dir)[::-1]
    overlays = [name for name in newest if _is_overlay(generations / name)]
    alone = [name for name in newest if name not in overlays]
    parent = read_manifest(generations / current, current).parent
    wanted = {current, *([parent] if parent else []), *alone[:keep], *overlays[:keep]}
    return {name for chosen in wanted for name in _with_base(generations / chosen)}


def _is_overlay(folder: Path) -> bool:
    return (folder / DELETED).exists()


def _with_base(folder: Path) -> set[str]:
    """Give the names of a generation and of its base; a damaged overlay, which nobody can read, needs none."""
    base = None
    if _is_overlay(folder):
        try:
            base = read_manifest(folder, folder.name).base
        except IntegrityError as error:
            if isinstance(error.__cause__, OSError):  # it may well be readable tomorrow
                raise error.__cause__ from error
    return {folder.name} if base is None else {folder.name, base}


def _current(index_dir: Path) -> str | None:
    try:
        name = read_current(index_dir)
        read_manifest(generations_of(index_dir) / name, name)
    except (DataError, IntegrityError):
        return None
    return name


def _hide(folder: Path) -> Path:
    """Rename a generation first, so that a crash while it is removed leaves no half of it under its name."""
    hidden = folder.with_name(f".{uuid.uuid4().hex}.removing")
    folder.rename(hidden)
    return hidden


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
