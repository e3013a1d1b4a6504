"""A folder of JSON Lines files as a stream: new files in the order of their names, and lines appended to the last."""

from __future__ import annotations

import logging
import os
import stat
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
    file whose name comes before what was read is not read, and neither is what is no regular file (a folder, a named
    pipe); a warning names it. Files are to stay until a refresh of a table that holds them was published.

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
        self._refused: set[str] = set()

    def seek(self, position: Position | None) -> None:
        """Go on behind a position: file, offset in bytes, and number of lines before it.

        When its file is gone, an error of the log tells, and reading goes on with the next file.
        """
        self._go_to(position)
        if gone := self.gone(position):
            log.error(
                "%s: was removed, and is to be read on behind line %d: changes that stood there, or in files after it "
                "that were removed as well, are lost unless a refreshed table holds them",
                gone,
                self._line,
            )

    def _go_to(self, position: Position | None) -> None:
        at = position or {"file": "", "offset": 0, "line": 0}
        self._file, self._offset, self._line = str(at["file"]), int(at["offset"]), int(at["line"])
        self._passed = {file for file in self._list() if file < self._file}

    def gone(self, position: Position | None) -> str | None:
        """Name the file of a position when something was read of it, and it is not there any more."""
        if position is None or int(position["offset"]) == 0:
            return None
        path = self._folder / str(position["file"])
        return None if path.exists() else str(path)

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
            with os.scandir(self._folder) as entries:
                found = [entry for entry in entries if entry.name.endswith(_SUFFIXES) and entry.name[0] != "."]
                regular = {entry.name for entry in found if _is_regular(entry)}
        except OSError as error:
            raise DataError(f"{self._folder}: cannot be read: {error.strerror}") from error
        for entry in found:
            if entry.name not in regular:
                self._refuse(entry.name)
        return sorted(regular)

    def _refuse(self, name: str) -> None:
        if name not in self._refused:
            self._refused.add(name)
            log.warning("%s: is not read: it is no regular file", self._folder / name)

    def _read(self, count: int, *, is_over: bool) -> list[Entry]:
        path = self._folder / self._file
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):  # it took the place of a file after that was listed
                    self._refuse(self._file)
                    return []
                if status.st_size < self._offset:
                    raise DataError(
                        f"{path}: has {status.st_size:,} bytes, and {self._offset:,} were read before; files of a "
                        "stream only grow: write new changes to a file with a later name, and put this one back"
                    )
                if status.st_size == self._offset:
                    return []
                return list(self._entries(file, count, min(status.st_mtime, time.time()), is_over=is_over))
        except (FileNotFoundError, IsADirectoryError):  # removed or replaced after it was listed
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
        other._refused = self._refused
        other._go_to({"file": self._file, "offset": self._offset, "line": self._line})
        while entries := other.read(_AT_ONCE):
            yield from entries

    def wait(self, seconds: float) -> None:
        """Sleep: a folder tells nobody that it changed."""
        time.sleep(seconds)

    def done(self, position: Position) -> None:
        """Do nothing: the files stay until somebody removes them."""

    def close(self) -> None:
        """Do nothing: no file is open between reads."""


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a named pipe would otherwise be waited for until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
