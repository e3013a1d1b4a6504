"""Changes that could not be used, kept with the reason."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from mmsearch.data.lines import BoundedLines, Unreadable
from mmsearch.data.rejected import Quarantine
from mmsearch.data.schema import RowError
from mmsearch.errors import DataError, TableError
from mmsearch.files import hash_bytes
from serving.follow.stream import Entry

_MAX_BYTES = 64 * 2**20
_MAX_ROW_CHARS = 4_000
#: Lines that are known again, at some 150 bytes each.
_MAX_LISTED = 100_000


class Rejects:
    """Appends to a file of JSON Lines: `where`, `column`, `reason`, `row`, as `mmsearch prepare` does for bad rows.

    A change that is read again, after a kill or a refresh, is not listed again: not while its line (same place, reason
    and row) is among the last 100,000 of the file. At 64 MiB the file becomes `NAME.1`, over the one before: strangers
    who write to a stream do not fill the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._listed: dict[str, None] = {}  # in the order of the file
        self._open()
        self._remember_all()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _remember_all(self) -> None:
        try:
            with self.path.open("rb") as file:
                for line in BoundedLines(file):
                    self._remember(line)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _remember(self, line: bytes) -> bool:
        """Tell whether a line is new, and know it from now on."""
        key = hash_bytes(line)
        if key in self._listed:
            return False
        self._listed[key] = None
        if len(self._listed) > _MAX_LISTED:
            del self._listed[next(iter(self._listed))]
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, entry: Entry, error: RowError) -> bool:
        """Keep one change, and why it was not used; tell whether it was not listed before.

        Raises:
            DataError: the disk refuses.
        """
        cells = entry.cells
        row = cells.raw if isinstance(cells, Unreadable) else cells
        shown = row if len(str(row)) <= _MAX_ROW_CHARS else f"{str(row)[:_MAX_ROW_CHARS]}…"
        line = BytesIO()
        Quarantine(line).add(error_of(entry, error), shown)
        if not self._remember(line.getvalue()):
            return False
        try:
            self._file.write(line.getvalue())
            self._file.flush()
            if self._file.tell() > _MAX_BYTES:
                self._file.close()
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                self._open()
        except OSError as problem:
            raise DataError(f"{self.path}: cannot be written: {problem.strerror or problem}") from problem
        self.count += 1
        return True


def error_of(entry: Entry, error: RowError) -> TableError:
    """Give what is wrong with a change, with its place."""
    return TableError(entry.where, None, error.column, error.problem)
