"""`lineage.json`: what each stage of a run came from, learned from, and changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.files import read_json, write_json
from mmsearch.models.checkpoint import disk_errors_told
from training.checkpoints import Figures

FORMAT_VERSION = 1


class Lineage:
    """The record of a run's stages, kept in its folder.

    A line a stage: its settings, hashes of its data, the parent of its weights, validation figures before and after.
    There are no times in it: the same run writes the same bytes.

    Args:
        path: the file; what it says of earlier stages is kept.
        rank: of this process; all but rank 0 write nothing.

    Raises:
        CorruptIndexError: the file cannot be read.
    """

    def __init__(self, path: Path, rank: int = 0) -> None:
        self._path, self._rank = path, rank
        try:
            found = read_json(path) if path.is_file() else {}
        except DataError as error:
            raise CorruptIndexError(f"{error}; remove it, and the same command goes on") from error
        self._stages: list[dict[str, Any]] = list(found.get("stages", [])) if isinstance(found, dict) else []

    def begin(self, number: int, stage: Mapping[str, Any]) -> None:
        """Write down a stage that begins, in place of what was known of it and of those after it."""
        self._stages[number:] = [dict(stage)]
        self._write()

    def before(self, number: int) -> Figures:
        """Give the validation figures before a stage; none where they are not known."""
        known = self._stages[number].get("before", {}) if number < len(self._stages) else {}
        return known if isinstance(known, dict) else {}

    def end(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Write down what a stage came to."""
        self._stages += [{} for _ in range(number + 1 - len(self._stages))]  # somebody removed the file
        self._stages[number] |= outcome
        self._write()

    def _write(self) -> None:
        if self._rank != 0:
            return
        with disk_errors_told(self._path):
            write_json(self._path, {"format_version": FORMAT_VERSION, "stages": self._stages})
