"""A folder of JSON Lines files as a stream: new files in the order of their names, and lines appended to the last."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mmsearch.data.formats import json_cells
from mmsearch.data.lines import BoundedLines
from mmsearch.errors import DataError
from serving.follow.stream import Entry, Position

_SUFFIXES = (".jsonl", ".ndjson")
_AT_ONCE = 256
#: Of one file, at once; a line may be as long.
_MAX_BYTES = 16 * 2**20

log = logging.getLogger(__name__)


class FolderStream:
    """Reads the `.jsonl` and `.ndjson` files of a folder as one stream; hidden files are none of it.

    Files are read in the order of their names (number them with leading zeros, or name them by time), and each only
    grows: a file is over when there is a later one. A line counts when its line end is there, or its file is over. A
    file whose name comes before what was read is not read; a warning names it.

    Args:
        folder: the folder; files may be added at any time.
        name: instead of the folder's place.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; make it, and put .jsonl files of changes into it")
        self._folder, self.name = folder, name or str(folder.resolve())
        self._file, self._offset, self._line = "", 0, 0
        self._passed: set[str] = set()

    def seek(self, position: Position | None) -> None:
        """Go on behind a position: file, offset in bytes, and number of lines before it."""
        at = position or {"file": "", "offset": 0, "line": 0}
        self._file, self._offset, self._line = str(at["file"]), int(at["offset"]), int(at["line"])
        self._passed = {file for file in self._list() if file < self._file}

    def read(self, count: int) -> list[Entry]:
        """Give the next lines.

        Raises:
            DataError: a file became shorter than what was read of it, or cannot be read.
        """
        found: list[Entry] = []
        files = self._list()  # first: what is read to its end after a later file was seen is over
        self._warn_of_late([file for file in files if file < self._file])
        for file in (file for file in files if file >= self._file):
            if file != self._file:
                self._passed.add(self._file)
                self._file, self._offset, self._line = file, 0, 0
            found += self._read(count - len(found), is_over=file != files[-1])
            if len(found) >= count or sum(entry.num_bytes for entry in found) > _MAX_BYTES:
                break
        return found

    def _list(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except OSError as error:
            raise DataError(f"{self._folder}: cannot be read: {error.strerror}") from error
        return sorted(name for name in names if name.endswith(_SUFFIXES) and not name.startswith("."))

    def _read(self, count: int, *, is_over: bool) -> list[Entry]:
        path = self._folder / self._file
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self._offset:
                    raise DataError(
                        f"{path}: has {status.st_size:,} bytes, and {self._offset:,} were read before; files of a "
                        "stream only grow: write new changes to a file with a later name, and put this one back"
                    )
                if status.st_size == self._offset:
                    return []
                return list(self._entries(file, count, min(status.st_mtime, time.time()), is_over=is_over))
        except FileNotFoundError:  # removed after it was listed
            return []
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    def _entries(self, file: BinaryIO, count: int, arrived: float, *, is_over: bool) -> Iterator[Entry]:
        file.seek(self._offset)
        lines, read = BoundedLines(file), 0
        lines.number = self._line
        for line in lines:
            if not (lines.ended or is_over):  # somebody is writing it
                return
            self._offset, self._line = file.tell(), lines.number
            if not line.strip():
                continue
            cells = lines.too_long(line) if lines.cut else json_cells(line)
            position = {"file": self._file, "offset": self._offset, "line": self._line}
            where = f"{self._folder / self._file}:{self._line}"
            yield Entry(position, where, cells, arrived, (self._file, self._line), len(line))
            count, read = count - 1, read + len(line)
            if not count or read > _MAX_BYTES:
                return

    def _warn_of_late(self, files: list[str]) -> None:
        for file in files:
            if file not in self._passed:
                log.warning(
                    "%s: is not read: its name comes before %s, which was read already; give new files later names",
                    self._folder / file,
                    self._file,
                )
        self._passed = set(files)

    def backlog(self) -> Iterator[Entry]:
        """Give what there is to read now, without reading it. Errors as in `read`."""
        other = FolderStream(self._folder, self.name)
        other.seek({"file": self._file, "offset": self._offset, "line": self._line})
        while entries := other.read(_AT_ONCE):
            yield from entries

    def wait(self, seconds: float) -> None:
        """Sleep: a folder tells nobody that it changed."""
        time.sleep(seconds)

    def done(self, position: Position) -> None:
        """Do nothing: the files stay until somebody removes them."""

    def close(self) -> None:
        """Do nothing: no file is open between reads."""
