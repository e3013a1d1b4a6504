"""Rows of CSV, TSV, JSONL and Parquet files, as (line number, raw cells), in bounded memory.

What is wrong with one row comes as an `Unreadable` in its place, so that the reader can go on behind it; what is wrong
with the whole file is raised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from mmsearch.data.lines import MAX_LINE_BYTES, BoundedLines, Unreadable
from mmsearch.data.parquet import parquet_rows
from mmsearch.errors import TableError

Cells = dict[str, object]
Rows = Iterator[tuple[int, Cells | Unreadable]]
#: Told the line (None in Parquet) and names of the header, where there is one; raises when they cannot be used.
CheckHeader = Callable[[int | None, list[str]], None]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
#: The byte-order marks of UTF-16, as bytes that are no UTF-8 are decoded here.
_UTF_16 = tuple(mark.decode("utf-8", "surrogateescape") for mark in (b"\xff\xfe", b"\xfe\xff"))
_PACKED = (".gz", ".zip", ".zst", ".xz", ".bz2")
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def check_readable(path: Path) -> None:
    """Check that a table has a known ending and is there.

    Raises:
        TableError: it does not, or is not.
    """
    if not path.is_file():
        raise TableError(path, None, None, "no such file" if not path.exists() else "is not a file")
    if path.suffix.lower() in _PACKED:
        raise TableError(path, None, None, "is packed; unpack it first")
    if path.suffix.lower() not in SUFFIXES:
        raise TableError(path, None, None, f"cannot tell the format; name the table with one of {', '.join(SUFFIXES)}")


def read_rows(path: Path, known: frozenset[str], check_header: CheckHeader) -> Rows:
    """Give the rows of a table; its ending tells the format.

    Args:
        path: the table.
        known: columns that matter; Parquet reads no others.
        check_header: called with the header of a CSV or Parquet table before its first row.

    Raises:
        TableError: the file cannot be opened, has no header, or its header was refused.
    """
    check_readable(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from parquet_rows(path, known, check_header)
        elif suffix in (".csv", ".tsv"):
            yield from csv_rows(path, check_header, known, delimiter="\t" if suffix == ".tsv" else ",")
        else:
            yield from jsonl_rows(path)
    except OSError as error:
        raise TableError(path, None, None, f"cannot be read: {error.strerror or error}") from error


def jsonl_rows(path: Path) -> Rows:
    """Give the rows of a JSON Lines file: one object a line; blank lines are skipped."""
    with path.open("rb") as file:
        lines = BoundedLines(file)
        for line in lines:
            if line.strip():
                yield lines.number, lines.too_long(line) if lines.cut else json_cells(line)


def json_cells(line: bytes) -> Cells | Unreadable:
    """Give the cells of one line of JSON Lines."""
    try:
        cells = json.loads(line.decode())
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8 at byte {error.start + 1} of the line; save the table as UTF-8"
    except json.JSONDecodeError as error:
        problem = f"not valid JSON at character {error.pos + 1}: {error.msg}"
    except (ValueError, RecursionError) as error:
        problem = f"not usable JSON: {error}"
    else:
        if isinstance(cells, dict):
            return cells
        problem = f'the line must hold one JSON object such as {{"doc_id": …}}, not a {type(cells).__name__}'
    return Unreadable(problem, line.decode("utf-8", errors="replace").rstrip("\n"))


class _CsvLines:
    """Feeds decoded lines to the csv module, and stops a record that a lost quote makes endless.

    Invalid bytes become lone surrogates, which the readers of cells refuse by the name of their column.
    """

    def __init__(self, lines: BoundedLines) -> None:
        self._lines = lines
        self.first, self.size, self.text = 1, 0, ""

    def __iter__(self) -> Iterator[str]:
        return self

    def start_record(self) -> None:
        self.first, self.size, self.text = self._lines.number + 1, 0, ""

    def __next__(self) -> str:
        line = next(self._lines)
        text = line.decode("utf-8", errors="surrogateescape")
        self.size += len(line)
        self.text = self.text or text[:1_000]
        if self._lines.cut or self.size > MAX_LINE_BYTES:
            raise csv.Error(f"the row is longer than {MAX_LINE_BYTES:,} bytes")
        return text


def csv_rows(path: Path, check_header: CheckHeader, known: frozenset[str], *, delimiter: str) -> Rows:
    """Give the rows of a CSV file with a header (RFC 4180: quotes are doubled, cells may hold line breaks).

    The number of a row is that of its first line. Blank lines are skipped.

    Raises:
        TableError: the file has no header, it was refused, or another character than `delimiter` parts its columns.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))  # one limit for the process: only ever raised
    with path.open("rb") as file:
        feed = _CsvLines(BoundedLines(file))
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
        header = [name.strip() for name in _csv_header(path, reader, feed, known, delimiter)]
        check_header(1, header)
        while True:
            feed.start_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield feed.first, Unreadable(f"not valid CSV: {error}; is a quote lost or not doubled?", feed.text)
                continue
            if cells:
                yield feed.first, _csv_cells(header, cells, feed.text)


def _csv_header(
    path: Path, reader: Iterator[list[str]], feed: _CsvLines, known: frozenset[str], delimiter: str
) -> list[str]:
    try:
        header = next(reader)
    except StopIteration:
        raise TableError(path, None, None, "the file is empty; a header line with column names is needed") from None
    except csv.Error as error:
        _check_separator(path, feed.text, known, delimiter)
        raise TableError(path, 1, None, f"the header is not valid CSV: {error}") from error
    if feed.text.startswith(_UTF_16):
        raise TableError(path, 1, None, "the file is UTF-16; save the table as UTF-8")
    if known.isdisjoint(name.strip() for name in header):
        _check_separator(path, feed.text, known, delimiter)
    return header


def _check_separator(path: Path, text: str, known: frozenset[str], delimiter: str) -> None:
    """Refuse a header in which another character than the delimiter parts columns that are known."""
    for other in _SEPARATORS:
        if other != delimiter and not known.isdisjoint(name.strip().strip('"') for name in text.split(other)):
            wanted = f"a {path.suffix.lower()} file needs {_SEPARATORS[delimiter]}; save it so"
            raise TableError(path, 1, None, f"{_SEPARATORS[other]} parts the columns where {wanted}")


def _csv_cells(header: list[str], cells: list[str], text: str) -> Cells | Unreadable:
    if len(cells) == len(header):
        return dict(zip(header, cells, strict=True))
    problem = f"{len(cells)} cells where the header has {len(header)}; is a text with a comma not in quotes?"
    return Unreadable(problem, text.rstrip("\r\n"))
