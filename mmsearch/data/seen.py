"""Which ids were seen, and in which line, in some 40 bytes an id."""

from __future__ import annotations

from array import array

import xxhash

_BUCKETS = 1 << 16


class SeenIds:
    """Remembers ids by a 64-bit hash, so that tables of tens of millions of videos can be checked for duplicates.

    Two different ids pass for the same with a chance of n² / 2^65: one in 370,000 for a table of ten million.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[bytearray, array[int]]] = {}

    def first_line(self, name: str, line: int) -> int:
        """Give the line where `name` was first seen: `line` itself when it is new, which is then remembered."""
        key = xxhash.xxh3_64_digest(name.encode())
        bucket = int.from_bytes(key[:2], "little") % _BUCKETS
        if bucket not in self._buckets:
            self._buckets[bucket] = bytearray(), array("Q")
        hashes, lines = self._buckets[bucket]
        at = hashes.find(key)
        while at % 8 and at > 0:  # a match across two neighbours
            at = hashes.find(key, at + 1)
        if at >= 0:
            return lines[at // 8]
        hashes += key
        lines.append(line)
        return line
