"""Files of judgments and runs: TREC text, JSON Lines, TSV and Parquet.

- JSON Lines (.jsonl, .ndjson), Parquet (.parquet), and TSV or CSV (.tsv, .csv) with a header: columns `query`,
  `doc_id`, and `grade` or `score` or both; judgments may have `group`, and `aspect` (blank = overall).
- TSV or CSV without a header: `query doc_id grade`, `query doc_id score`, or both in the order of the public CBVS
  files, `grade query doc_id score`.
- Any other ending is TREC text: `query iteration doc_id grade` for judgments, `query Q0 doc_id rank score tag` for runs
  (tabs, or blanks where no field holds one); for judgments with scores it is the TSV of CBVS.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmsearch.errors import TableError
from mmsearch.metrics.join import Grades, Scores

MAX_LINE_BYTES = 1 << 20
#: The aspect of judgments that name none, as in `mmsearch.data.tables`.
OVERALL = "overall"

_TREC_QRELS = ("query", "", "doc_id", "grade")
_TREC_RUN = ("query", "", "doc_id", "", "score", "")
_CBVS = ("grade", "query", "doc_id", "score")
#: A row and its place: line (or row of Parquet) and cells by column.
_Row = tuple[int, dict[str, Any]]


def read_grades(path: Path, aspect: str = OVERALL) -> Grades:
    """Read the judgments of one aspect; a file without the column holds `overall` ones.

    Raises:
        TableError: `FILE:LINE: column: what is wrong, what to do`.
    """
    found = Grades([], [], [], [])
    for line, cells in _of_aspect(path, _rows(path, _TREC_QRELS, ("query", "doc_id", "grade")), aspect):
        _add_grade(found, path, line, cells)
    return _checked(path, found)


def read_run(path: Path) -> Scores:
    """Read a run. Scores may be NaN, infinite, or (JSON null, an empty cell) missing.

    Raises:
        TableError: `FILE:LINE: column: what is wrong, what to do`.
    """
    return _read_run(path, needs_scores=True)


def read_candidates(path: Path) -> Scores:
    """Read candidates of queries: a run, or a table with the columns `query` and `doc_id` and none of scores.

    Raises:
        TableError: `FILE:LINE: column: what is wrong, what to do`.
    """
    return _read_run(path, needs_scores=False)


def _read_run(path: Path, *, needs_scores: bool) -> Scores:
    found = Scores([], [], [])
    for line, cells in _rows(path, _TREC_RUN, ("query", "doc_id", "score")):
        found.queries.append(_name(path, line, cells, "query"))
        found.doc_ids.append(_name(path, line, cells, "doc_id"))
        found.scores.append(_score(path, line, cells) if needs_scores or "score" in cells else None)
    return found


def read_scored(path: Path, aspect: str = OVERALL) -> tuple[Grades, list[float | None]]:
    """Read the judgments of one aspect, which carry their scores.

    Raises:
        TableError: `FILE:LINE: column: what is wrong, what to do`.
    """
    found = Grades([], [], [], [])
    scores: list[float | None] = []
    for line, cells in _of_aspect(path, _rows(path, _CBVS, _CBVS), aspect):
        _add_grade(found, path, line, cells)
        scores.append(_score(path, line, cells))
    return _checked(path, found), scores


def _rows(path: Path, text_columns: Sequence[str], tsv_columns: Sequence[str]) -> Iterator[_Row]:
    if not path.is_file():
        raise TableError(path, None, None, "no such file")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl(path)
    if suffix in (".tsv", ".csv") or text_columns is _CBVS:
        return _separated(path, tsv_columns, "," if suffix == ".csv" else "\t")
    return _text(path, text_columns)


def _of_aspect(path: Path, rows: Iterator[_Row], aspect: str) -> Iterator[_Row]:
    """Give the rows of one aspect: grades by different questions are no repeats of each other."""
    found: set[str] = set()
    for line, cells in rows:
        told = cells.get("aspect")
        of = told if isinstance(told, str) and told.strip() else OVERALL
        found.add(of)
        if of == aspect:
            yield line, cells
    if found and aspect not in found:
        known = ", ".join(sorted(found))
        raise TableError(path, None, "aspect", f"there is no judgment of the aspect '{aspect}'; there is: {known}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise TableError(path, number, None, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise TableError(path, number, None, f"invalid UTF-8 at byte {error.start + 1}") from error
            if text.strip():
                yield number, text.rstrip("\r\n")


def _jsonl(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path):
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TableError(path, number, None, f"not valid JSON: {error}") from error
        if not isinstance(cells, dict):
            raise TableError(path, number, None, "the line must hold one JSON object")
        yield number, cells


def _separated(path: Path, columns: Sequence[str], separator: str) -> Iterator[_Row]:
    names = columns
    for index, (number, line) in enumerate(_lines(path)):
        cells = line.split("\t") if separator == "\t" else next(csv.reader([line]))
        if index == 0 and {"query", "doc_id"} <= set(cells):
            names = cells
        elif len(cells) != len(names):
            wanted = " ".join(names) + _other_separator(line, separator)
            raise TableError(path, number, None, f"{len(cells)} fields; {len(names)} are needed: {wanted}")
        else:
            yield number, dict(zip(names, cells, strict=True))


def _other_separator(line: str, separator: str) -> str:
    """Tell of a header whose columns another character parts; "" where it is none."""
    for other, name in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if other != separator and {"query", "doc_id"} <= {cell.strip().strip('"') for cell in line.split(other)}:
            return f"; {name} part the columns here, and {'commas' if separator == ',' else 'tabs'} are needed"
    return ""


def _text(path: Path, columns: Sequence[str]) -> Iterator[_Row]:
    for number, line in _lines(path):
        cells = line.split("\t")
        if len(cells) != len(columns):
            cells = line.split()
        if len(cells) != len(columns):
            wanted = " ".join(name or "…" for name in columns)
            raise TableError(path, number, None, f"{len(cells)} fields; TREC text needs {len(columns)}: {wanted}")
        yield number, dict(zip(columns, cells, strict=True))


def _parquet(path: Path) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = ("query", "doc_id", "grade", "score", "group", "aspect")
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in known]
            for batch in file.iter_batches(columns=columns):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, cells
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(path, None, None, f"cannot be read as Parquet: {error}") from error


def _add_grade(found: Grades, path: Path, line: int, cells: dict[str, Any]) -> None:
    found.queries.append(_name(path, line, cells, "query"))
    found.doc_ids.append(_name(path, line, cells, "doc_id"))
    found.grades.append(_grade(path, line, cells))
    if cells.get("group") is not None:
        found.groups.append(_writable(path, line, str(cells["group"]), "group"))


def _checked(path: Path, found: Grades) -> Grades:
    if not found.queries:
        raise TableError(path, None, None, "there is no judgment in it")
    if found.groups and len(found.groups) < len(found.queries):
        raise TableError(path, None, "group", "some rows have a group and some have none; give every row one")
    return found


def _cell(path: Path, line: int, cells: dict[str, Any], column: str) -> Any:
    if column not in cells:
        raise TableError(path, line, column, f"is missing; the columns here: {', '.join(filter(None, cells))}")
    return cells[column]


def _name(path: Path, line: int, cells: dict[str, Any], column: str) -> str:
    name = _cell(path, line, cells, column)
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if not isinstance(name, str) or not name.strip():
        raise TableError(path, line, column, f"{str(name)[:60]!r} is not a name; write a text that is not empty")
    return _writable(path, line, name, column)


def _writable(path: Path, line: int, text: str, column: str) -> str:
    """Check that a file of UTF-8 can hold a text: JSON escapes can spell half a surrogate pair, which none can."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            told = f"half a surrogate pair at character {error.start + 1}; write the whole character"
            raise TableError(path, line, column, told) from None
    return text


def _grade(path: Path, line: int, cells: dict[str, Any]) -> int:
    value = _cell(path, line, cells, "grade")
    try:
        grade = int(value)
        if isinstance(value, bool) or grade != float(value) or abs(grade) > 1_000_000:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise TableError(path, line, "grade", f"{str(value)[:60]!r} is not a whole number") from None
    return grade


def _score(path: Path, line: int, cells: dict[str, Any]) -> float | None:
    value = _cell(path, line, cells, "score")
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TableError(path, line, "score", f"{str(value)[:60]!r} is not a number") from None
