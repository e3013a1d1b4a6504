"""Lines of an untrusted text file, read in bounded memory, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: Room for 10 million characters that are each written as `\uXXXX`.
MAX_LINE_BYTES = 64 * 2**20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not even be split into cells: why, and the beginning of its text."""

    problem: str
    raw: str


class BoundedLines:
    """Iterate over the lines of a file; of an over-long line only the first `max_bytes` are held.

    A byte-order mark at the start of the file is dropped. Lines end at LF; the LF is kept.
    """

    def __init__(self, file: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._file, self._max_bytes = file, max_bytes
        self.number = 0
        self.cut = self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Give the next line; `.number` counts from 1.

        `.cut` tells whether it was over-long and lost its end, `.ended` whether it had a LF: the last one may not.
        """
        line = self._file.readline(self._max_bytes + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.cut, self.ended = len(line) > self._max_bytes, line.endswith(b"\n")
        if self.cut and not self.ended:
            self._skip_rest()
        return line.removeprefix(_BOM) if self.number == 1 else line

    def _skip_rest(self) -> None:
        while chunk := self._file.readline(1 << 20):
            if chunk.endswith(b"\n"):
                self.ended = True
                return

    def too_long(self, line: bytes) -> Unreadable:
        """Describe an over-long line."""
        return Unreadable(
            f"the line is longer than {self._max_bytes:,} bytes; shorten its texts, or is a quote or line break lost?",
            line[:1_000].decode("utf-8", errors="replace"),
        )
