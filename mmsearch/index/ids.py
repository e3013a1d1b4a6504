"""Document ids to rows, by hash, without a dictionary in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import xxhash

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index.arrays import ArrayWriter, open_array, read_through
from mmsearch.index.id_text import AskedIds
from mmsearch.index.layout import ids_files
from mmsearch.index.manifest import StoredFile
from mmsearch.index.sorted_hashes import SortedHashes

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_BLOCK = 65536

_hash_one: Callable[[bytes], int] = xxhash.xxh3_64_intdigest


def hash_ids(encoded: Sequence[bytes]) -> UInt64:
    """Give the xxh3-64 of every id, [N]."""
    return np.fromiter(map(_hash_one, encoded), np.uint64, len(encoded))


class IdWriter:
    """Write the ids of a generation in a stream. Memory: 8 bytes an id while adding, about 40 while closing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        text, offsets, _, _ = ids_files()
        self._text = ArrayWriter(folder / text, "uint8")
        self._offsets = ArrayWriter(folder / offsets, "int64")
        self._offsets.append(np.zeros(1, np.int64))
        self._hashes: list[UInt64] = []
        self._end = 0

    @property
    def num_ids(self) -> int:
        """Number of ids so far: the row of the next one."""
        return self._offsets.num_rows - 1

    def add(self, doc_ids: Sequence[str]) -> None:
        """Add ids; each gets the next row."""
        encoded = [self._encode(doc_id, self.num_ids + i) for i, doc_id in enumerate(doc_ids)]
        if not encoded:
            return
        ends = self._end + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._text.append(np.frombuffer(b"".join(encoded), np.uint8))
        self._offsets.append(ends)
        self._hashes.append(hash_ids(encoded))
        self._end = int(ends[-1])

    def _encode(self, doc_id: str, row: int) -> bytes:
        if not doc_id:
            raise DataError(f"document {row}: its doc_id is empty; give every video an id")
        try:
            return doc_id.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"document {row}: doc_id {doc_id!r} is not valid text; give it another id") from error

    def abandon(self) -> None:
        """Let go of the files."""
        self._text.abandon()
        self._offsets.abandon()

    def close(self) -> dict[str, StoredFile]:
        """Sort, look for ids given twice, bring all to the disk and give size and checksum of each file.

        Raises:
            DataError: an id was added twice; the message names it and both rows.
        """
        hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes])
        rows = np.argsort(hashes, kind="stable")
        hashes = hashes[rows]
        stored = {writer.path.name: writer.close() for writer in (self._text, self._offsets)}
        self._refuse_doubles(hashes, rows)
        _, _, hashes_name, rows_name = ids_files()
        for name, dtype, column in ((hashes_name, "uint64", hashes), (rows_name, "uint32", rows)):
            writer = ArrayWriter(self._folder / name, dtype)
            writer.append(column)
            stored[name] = writer.close()
        return stored

    def _refuse_doubles(self, hashes: UInt64, rows: Int64) -> None:
        starts = np.flatnonzero(hashes[1:] == hashes[:-1])
        if not starts.size:
            return
        text = open_array(self._text.path, "uint8", (self._end,))
        offsets = open_array(self._offsets.path, "int64", (len(rows) + 1,))
        seen: dict[bytes, int] = {}
        for place in np.union1d(starts, starts + 1):
            row = int(rows[place])
            doc_id = text[offsets[row] : offsets[row + 1]].tobytes()
            if doc_id in seen:
                first, second = sorted((seen[doc_id], row))
                raise DataError(f"doc_id {doc_id.decode()!r} was added twice: as document {first} and as {second}")
            seen[doc_id] = row


class IdTable(Sequence[str]):
    """The ids of a generation, in the order of their rows; look-ups take O(log num_docs) each and no Python dictionary.

    An id whose hash equals that of a stored one is compared with it byte by byte: a foreign id is never found.
    Safe for threads.
    """

    def __init__(self, folder: Path, num: int) -> None:
        text, offsets, hashes, rows = (folder / name for name in ids_files())
        self._offsets: Int64 = open_array(offsets, "int64", (num + 1,))
        self._text: npt.NDArray[np.uint8] = open_array(text, "uint8", (int(self._offsets[-1]),))
        self._hashes: UInt64 = open_array(hashes, "uint64", (num,))
        self._rows: npt.NDArray[np.uint32] = open_array(rows, "uint32", (num,))
        self._sorted = SortedHashes(self._hashes)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            first, stop, step = row.indices(len(self))
            return list(self._between(first, stop)) if step == 1 else [self[i] for i in range(first, stop, step)]
        at = range(len(self))[row]
        text = bytes(self._text[self._offsets[at] : self._offsets[at + 1]])
        self._check([text], at)
        return text.decode()

    def __iter__(self) -> Iterator[str]:
        return self._between(0, len(self))

    def _between(self, first: int, stop: int) -> Iterator[str]:
        for start in range(first, stop, _BLOCK):
            ends = self._offsets[start : min(start + _BLOCK, stop) + 1].tolist()
            block = bytes(self._text[ends[0] : ends[-1]])
            texts = [block[a - ends[0] : b - ends[0]] for a, b in pairwise(ends)]
            self._check(texts, start)
            yield from map(bytes.decode, texts)

    def _check(self, texts: Sequence[bytes], start: int) -> None:
        """Make sure that ids lead back to the rows that they were read from: a damaged one would be another's name.

        Raises:
            CorruptIndexError: one does not.
        """
        hashes = hash_ids(texts)
        places = np.searchsorted(self._hashes, hashes)
        found = (self._rows.take(places, mode="clip") == np.arange(start, start + len(texts))) & (
            self._hashes.take(places, mode="clip") == hashes
        )
        for at in np.flatnonzero(~found).tolist():  # none, unless different ids share a hash
            end = np.searchsorted(self._hashes, hashes[at], side="right")
            if start + at not in self._rows[places[at] : end]:
                raise CorruptIndexError(f"the index holds a damaged doc_id ({texts[at]!r}); publish again")

    def rows(self, doc_ids: Sequence[str]) -> Int64:
        """Give the row of every id, [N]; -1 = there is no such document."""
        return self.find(asked_ids(doc_ids))

    def find(self, asked: AskedIds) -> Int64:
        """Give the row of every id, [N]; -1 = there is no such document."""
        found = np.full(len(asked), -1, np.int64)
        places, which = self._sorted.places(asked.hashes), np.arange(len(asked))
        while which.size:  # once, unless different ids share a hash
            hit = (places < len(self)) & (self._hashes.take(places, mode="clip") == asked.hashes)
            if not hit.all():
                kept = np.flatnonzero(hit)
                asked, places, which = asked.those(kept), places[kept], which[kept]
            rows = self._rows.take(places).astype(np.int64)
            same = self._same_text(rows, asked)
            if same.all():
                found[which] = rows
                break
            found[which[same]] = rows[same]
            kept = np.flatnonzero(~same)
            asked, places, which = asked.those(kept), places[kept] + 1, which[kept]
        return found

    def _same_text(self, rows: Int64, asked: AskedIds) -> npt.NDArray[np.bool_]:
        if rows.size and int(rows.max()) >= len(self):
            raise CorruptIndexError("the id table of the index points outside of it; publish again")
        return asked.same_as(self._text, self._offsets.take(rows), self._offsets.take(rows + 1))

    def warm(self) -> None:
        """Read all of it once, and get the search ready."""
        read_through(self._text, self._offsets, self._hashes, self._rows)
        self._sorted.warm()


class ChainedIds(Sequence[str]):
    """The ids of several tables in the order of their rows."""

    def __init__(self, tables: Sequence[IdTable]) -> None:
        self._tables = tables

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            first, stop, step = row.indices(len(self))
            return self._between(first, stop) if step == 1 else [self[i] for i in range(first, stop, step)]
        at = range(len(self))[row]
        for table in self._tables[:-1]:
            if at < len(table):
                return table[at]
            at -= len(table)
        return self._tables[-1][at]

    def _between(self, first: int, stop: int) -> list[str]:
        found: list[str] = []
        for table in self._tables:
            found += table[max(first, 0) : max(stop, 0)]
            first, stop = first - len(table), stop - len(table)
        return found

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._tables)


def encode_ids(doc_ids: Sequence[str]) -> list[bytes]:
    """Give the UTF-8 bytes of ids."""
    try:
        return list(map(str.encode, doc_ids))
    except UnicodeEncodeError:  # text that is not valid Unicode gets bytes that no stored id has
        return [doc_id.encode("utf-8", "surrogatepass") for doc_id in doc_ids]


def asked_ids(doc_ids: Sequence[str]) -> AskedIds:
    """Give ids as they are looked up, in one table or several."""
    encoded = encode_ids(doc_ids)
    return AskedIds.of(encoded, hash_ids(encoded))


def check_rows(rows: npt.NDArray[Any], num_rows: int, *, missing: bool = True) -> Int64:
    """Give row numbers as int64.

    Raises:
        IndexError: a row is neither one of the index's nor, where that is allowed, -1 (missing).
    """
    checked = np.asarray(rows, dtype=np.int64)
    if checked.size and (int(checked.min()) < -missing or int(checked.max()) >= num_rows):
        raise IndexError(f"rows must be {'-1 (missing) or ' if missing else ''}0 … {num_rows - 1}")
    return checked
