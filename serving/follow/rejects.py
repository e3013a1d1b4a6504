"""Changes that could not be used, kept with the reason."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from mmsearch.data.lines import Unreadable
from mmsearch.data.rejected import Quarantine
from mmsearch.data.schema import RowError
from mmsearch.errors import DataError, TableError
from serving.follow.stream import Entry

_MAX_BYTES = 64 * 2**20
_MAX_ROW_CHARS = 4_000


class Rejects:
    """Appends to a file of JSON Lines: `where`, `column`, `reason`, `row`, as `mmsearch prepare` does for bad rows.

    A change that is read again after a kill may stand there twice. At 64 MiB the file becomes `NAME.1`, over the one
    before: strangers who write to a stream do not fill the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._quarantine = Quarantine(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, entry: Entry, error: RowError) -> None:
        """Keep one change, and why it was not used.

        Raises:
            DataError: the disk refuses.
        """
        cells = entry.cells
        row = cells.raw if isinstance(cells, Unreadable) else cells
        shown = row if len(str(row)) <= _MAX_ROW_CHARS else f"{str(row)[:_MAX_ROW_CHARS]}…"
        try:
            self._quarantine.add(TableError(entry.where, None, error.column, error.problem), shown)
            self._file.flush()
            if self._file.tell() > _MAX_BYTES:
                self._file.close()
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                self._open()
        except OSError as problem:
            raise DataError(f"{self.path}: cannot be written: {problem.strerror or problem}") from problem
        self.count += 1
