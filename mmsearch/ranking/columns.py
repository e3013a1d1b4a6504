"""The user's own columns: numbers of (query, video) pairs, such as a BM25 score or a click rate."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsearch.data import values
from mmsearch.data.formats import check_readable, read_rows
from mmsearch.data.lines import Unreadable
from mmsearch.errors import TableError
from mmsearch.metrics.scored import Float64

Pair = tuple[str, str]
_KEYS = ("query", "doc_id")


@dataclass(frozen=True, eq=False)
class UserColumns:
    """Numbers of pairs.

    Args:
        names: of the columns.
        row_of: row of each pair that the table holds.
        values: NaN where a cell is empty, [rows, columns].
        num_repeated: rows of the table whose pair stood in an earlier one, which counts.
        is_related: whether any row names the query or the document of a pair that was asked for; else it may well be
            the wrong table.
    """

    names: tuple[str, ...]
    row_of: dict[Pair, int]
    values: Float64
    num_repeated: int = 0
    is_related: bool = True

    def look_up(self, pairs: Sequence[Pair]) -> Float64:
        """Give the numbers of some pairs, [pairs, columns]; NaN for a pair that the table does not hold."""
        nothing = np.full((1, len(self.names)), np.nan)
        rows = [self.row_of.get(pair, len(self.values)) for pair in pairs]
        return np.concatenate([self.values, nothing])[rows]


def read_columns(path: Path, wanted: Collection[Pair], names: Sequence[str] | None = None) -> UserColumns:
    """Read the columns of some pairs from a table: CSV, TSV, JSON Lines or Parquet with `query` and `doc_id`.

    Args:
        path: the table. An empty cell and (JSON) an absent or null one are NaN.
        wanted: the pairs; rows of others are passed over, and memory holds none of them.
        names: the columns; None = all but `query` and `doc_id`.

    Raises:
        TableError: a row cannot be read, a cell holds no finite number, or a named column is absent. Of rows with the
            same pair the first counts. That a pair, or all of them, stands in no row is no error.
    """
    check_readable(path)
    asked = frozenset(wanted)
    queries, doc_ids = ({pair[at] for pair in asked} for at in (0, 1))
    row_of: dict[Pair, int] = {}
    found: dict[str, array[float]] = {name: array("d") for name in names or ()}
    seen: set[str] = set()
    repeated, related = 0, False

    def check_header(line: int | None, header: list[str]) -> None:
        _check_header(path, line, header)
        seen.update(header)

    for line, cells in read_rows(path, _known(path, names), check_header):
        if isinstance(cells, Unreadable):
            raise TableError(path, line, None, cells.problem)
        pair = (_key(path, line, cells, "query"), _key(path, line, cells, "doc_id"))
        seen.update(cells)
        related = related or pair[0] in queries or pair[1] in doc_ids
        if pair not in asked:
            continue
        if pair in row_of:
            repeated += 1
            continue
        for name in found.keys() | (cells.keys() - set(_KEYS) if names is None else ()):
            own = found.setdefault(name, array("d", [np.nan]) * len(row_of))
            own.append(_number(path, line, name, cells.get(name)))
        row_of[pair] = len(row_of)
    if names is None and not row_of:
        found = {name: array("d") for name in seen - set(_KEYS)}
    _check_found(path, found, seen)
    kept = tuple(name for name in found) if names else tuple(sorted(found))
    stacked = np.stack([np.frombuffer(found[name]) for name in kept], axis=1)
    return UserColumns(kept, row_of, stacked, repeated, related)


def _known(path: Path, names: Sequence[str] | None) -> frozenset[str]:
    """Give the columns to read: Parquet reads no others."""
    if names is None and path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return frozenset(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise TableError(path, None, None, f"cannot be read as Parquet: {error}; write the file again") from error
    return frozenset((*_KEYS, *(names or ())))


def _check_header(path: Path, line: int | None, header: list[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise TableError(path, line, name, "the column stands there twice; rename or remove one")


def _key(path: Path, line: int, cells: dict[str, object], name: str) -> str:
    cell = cells.get(name)
    if cell is None or cell == "":
        told = "is empty; every row needs one" if name in cells else f"is missing; the columns here: {', '.join(cells)}"
        raise TableError(path, line, name, told)
    try:
        return values.doc_id(cell) if name == "doc_id" else values.text(cell)
    except ValueError as error:
        raise TableError(path, line, name, str(error)) from None


def _number(path: Path, line: int, name: str, cell: object) -> float:
    if cell is None or (isinstance(cell, str) and not cell.strip()) or cell != cell:  # a NaN of Parquet
        return float("nan")
    try:
        return float(cell) if isinstance(cell, bool) else values.number(cell)
    except ValueError as error:
        advice = "choose the columns that hold numbers: columns=[…]"
        raise TableError(path, line, name, f"{error}; {advice}") from None


def _check_found(path: Path, found: dict[str, array[float]], seen: set[str]) -> None:
    absent = sorted(found.keys() - seen)
    if absent and seen:  # JSON Lines without a row name no column
        raise TableError(path, None, absent[0], f"the column is missing; the columns here: {', '.join(sorted(seen))}")
    if not found:
        raise TableError(path, None, None, "has no column but 'query' and 'doc_id'")
