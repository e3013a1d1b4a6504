"""Which ids were seen, and in which line, in 16 bytes an id."""

from __future__ import annotations

from array import array

import xxhash

_BUCKETS = 1 << 14


class SeenIds:
    """Remembers ids by a 64-bit hash, so that tables of tens of millions of videos can be checked for duplicates.

    Two different ids pass for the same with a chance of n² / 2^65: one in 370,000 for a table of ten million.
    """

    def __init__(self) -> None:
        self._hashes: list[bytearray] = [bytearray() for _ in range(_BUCKETS)]
        self._lines: list[array[int]] = [array("Q") for _ in range(_BUCKETS)]

    def first_line(self, name: str, line: int) -> int:
        """Give the line where `name` was first seen: `line` itself when it is new, which is then remembered."""
        key = xxhash.xxh3_64_digest(name.encode())
        bucket = int.from_bytes(key[:2], "little") % _BUCKETS
        hashes = self._hashes[bucket]
        at = hashes.find(key)
        while at % 8 and at > 0:  # a match across two neighbours
            at = hashes.find(key, at + 1)
        if at >= 0:
            return self._lines[bucket][at // 8]
        hashes += key
        self._lines[bucket].append(line)
        return line
