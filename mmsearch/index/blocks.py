"""Checksums of blocks of rows, so that a reader need not read a whole file to know that what it uses is sound.

A block is as many whole rows as make about 256 KiB of vectors. Its checksum is the xxh3-64 of their bytes: the vectors,
then the scales (int8 alone), then the flags of presence, each as it lies in its file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from mmsearch.forks import ForkSafeLock
from mmsearch.protocols import Bool

log = logging.getLogger(__name__)

UInt64 = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]

#: Part of format 3.
_BLOCK_BYTES = 1 << 18
_UNKNOWN, _SOUND, _DAMAGED = 0, 1, 2


def rows_per_block(row_bytes: int) -> int:
    """Give how many rows a block has, from the bytes of a row of vectors."""
    return max(1, _BLOCK_BYTES // row_bytes)


class BlockHasher:
    """Checksums of the blocks of arrays that grow together, whatever the batches that they come in.

    Args:
        rows_per_block: rows of a block; the last one may have fewer.
    """

    def __init__(self, rows_per_block: int) -> None:
        self._rows_per_block = rows_per_block
        self._checksums: list[int] = []
        self._start_block()

    def _start_block(self) -> None:
        self._num_rows = 0
        self._first = xxhash.xxh3_64()
        self._others: list[list[memoryview]] = []

    def add(self, columns: Sequence[Array]) -> None:
        """Add rows: what each of the arrays has of them, in the order in which they are hashed."""
        start, stop = 0, len(columns[0])
        while start < stop:
            end = min(start + self._rows_per_block - self._num_rows, stop)
            first, *others = (_bytes_of(column[start:end]) for column in columns)
            self._first.update(first)
            self._others.append(others)
            self._num_rows += end - start
            start = end
            if self._num_rows == self._rows_per_block:
                self._end_block()

    def _end_block(self) -> None:
        for column in zip(*self._others, strict=True):
            for part in column:
                self._first.update(part)
        self._checksums.append(self._first.intdigest())
        self._start_block()

    def close(self) -> UInt64:
        """Give the checksums, one a block."""
        if self._num_rows:
            self._end_block()
        return np.array(self._checksums, np.uint64)


class BlockChecks:
    """Compare blocks with their checksums, each when a row of it is first asked for. Safe for threads and forks.

    Args:
        name: what the rows are, for the log.
        expected: the checksums.
        columns: the arrays that were hashed, memory-mapped.
        rows_per_block: rows of a block.
    """

    def __init__(self, name: str, expected: UInt64, columns: Sequence[Array], rows_per_block: int) -> None:
        self._name, self._expected, self._columns, self._rows_per_block = name, expected, columns, rows_per_block
        self._states = np.zeros(len(expected), np.uint8)
        self._lock = ForkSafeLock()
        #: Whether every block was compared, and is what was written.
        self.all_sound = False

    def sound(self, rows: npt.NDArray[np.int64]) -> Bool:
        """Tell which rows lie in blocks that are what was written, [N]."""
        if self.all_sound:
            return np.ones(len(rows), bool)
        blocks = rows // self._rows_per_block
        states = self._states.take(blocks)
        unknown = states == _UNKNOWN
        if unknown.any():
            for block in np.unique(blocks[unknown]).tolist():
                self._check(block)
            states = self._states.take(blocks)
        return np.asarray(states == _SOUND)

    def check_all(self) -> None:
        """Compare every block that was not compared yet, in order."""
        for block in np.flatnonzero(self._states == _UNKNOWN).tolist():
            self._check(block)
        self.all_sound = bool((self._states == _SOUND).all())

    def _check(self, block: int) -> None:
        start = block * self._rows_per_block
        stop = min(start + self._rows_per_block, len(self._columns[0]))
        digest = xxhash.xxh3_64()
        for part in self._parts(start, stop):
            digest.update(part)
        sound = digest.intdigest() == int(self._expected[block])
        with self._lock:
            if not sound and self._states[block] == _UNKNOWN:
                log.error(
                    "%s: rows %d … %d are damaged and count as missing from now on; publish again",
                    self._name, start, stop - 1,
                )  # fmt: skip
            self._states[block] = _SOUND if sound else _DAMAGED

    def _parts(self, start: int, stop: int) -> Iterator[memoryview]:
        for column in self._columns:
            yield _bytes_of(column[start:stop])


def _bytes_of(rows: Array) -> memoryview:
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
