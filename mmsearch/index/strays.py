"""What an index need not keep: traces of crashed writers, and generations that nobody goes back to."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from mmsearch.errors import DataError, IntegrityError
from mmsearch.index.layout import generations_of, read_current, split_name
from mmsearch.index.manifest import read_manifest


def collect(index_dir: Path) -> str | None:
    """Remove everything but the generation that is served and its parent. Call it with the write lock held.

    Readers that have a removed generation open keep it until they close it. When the served generation cannot be
    read, only traces of crashed writers go: there may be something to rescue by hand in the rest.

    Returns:
        The name of the generation that is served; None when there is none that can be read.
    """
    generations = generations_of(index_dir)
    for left in (*index_dir.glob(".CURRENT.*.tmp"), *generations.glob(".*")):
        _remove(left)
    try:
        current = read_current(index_dir)
        keep = {current, read_manifest(generations / current, current).parent}
    except IntegrityError:
        return None
    except DataError:  # nothing was published yet: whole generations were never served
        current, keep = None, set()
    for generation in generations.iterdir():
        if split_name(generation.name) is not None and generation.name not in keep:
            hidden = generations / f".{uuid.uuid4().hex}.removing"
            generation.rename(hidden)  # first, so that a crash in between leaves no half of a generation under its name
            _remove(hidden)
    return current


def next_number(index_dir: Path) -> int:
    """Give the number after the highest one that a generation has."""
    splits = (split_name(path.name) for path in generations_of(index_dir).iterdir())
    return max((split[0] for split in splits if split is not None), default=0) + 1


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
