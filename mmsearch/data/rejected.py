"""Quarantine: the rows of a table that could not be used, kept with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmsearch.errors import TableError
from mmsearch.files import replacing


class Quarantine:
    """Writes rejected rows as JSON Lines: `where` (FILE:LINE), `column`, `reason`, `row` (cells, or the raw line)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def add(self, error: TableError, row: object) -> None:
        """Keep one row."""
        where = error.path if error.line is None else f"{error.path}:{error.line}"
        record = {"where": where, "column": error.column, "reason": error.problem, "row": _plain(row)}
        try:
            line = json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # lone surrogates: only escapes can carry them
            line = json.dumps(record).encode()
        self._file.write(line + b"\n")
        self.count += 1


@contextmanager
def quarantine(path: Path) -> Iterator[Quarantine]:
    """Open a quarantine; the file takes its place when the block ends well (empty when nothing was rejected)."""
    with replacing(path) as beside, beside.open("wb") as file:
        yield Quarantine(file)
        file.flush()


def _plain(value: object) -> object:
    """Give a value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
