"""Runs written to files, as `mmsearch.metrics.files` reads them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.files import replacing
from mmsearch.metrics.join import Scores

#: Gives the line of a row: query, doc_id, its place among those of the query from 1, score.
_Line = Callable[[str, str, int, float | None], str]

TREC_SUFFIXES = (".run", ".trec", ".txt", "")
RUN_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", *TREC_SUFFIXES)


def check_run_name(path: Path) -> None:
    """Check that the ending of a file tells how a run is to be written.

    Raises:
        DataError: it does not.
    """
    if path.suffix.lower() not in RUN_SUFFIXES:
        known = ", ".join(suffix for suffix in RUN_SUFFIXES if suffix)
        told = f"cannot tell the format of a run by '{path.suffix}'"
        raise DataError(f"{path}: {told}; write one of {known}, or no ending (TREC text, as .run)")


def write_run(path: Path, run: Scores, tag: str) -> None:
    """Write a run; its ending tells the format.

    JSON Lines (.jsonl, .ndjson), CSV and TSV (the latter without quotes) and Parquet have the columns `query`, `doc_id`
    and `score`, null or empty where there is none. TREC text (.run, .trec, .txt, or no ending) has its fields apart by
    tabs.

    Args:
        path: the file; it appears whole or not at all.
        run: rows of a query together, best first.
        tag: names the run in TREC text.

    Raises:
        DataError: the ending is another, the disk refuses, a query or id holds half a surrogate pair, or it is empty or
            holds a line end (in TSV and TREC text: a tab) and cannot stand in a file of lines.
    """
    check_run_name(path)
    suffix = path.suffix.lower()
    try:
        with replacing(path) as beside:
            if suffix == ".parquet":
                _write_parquet(beside, run)
            else:
                _write_lines(beside, run, _header(suffix), _line_of(path, suffix, tag))
    except UnicodeEncodeError as error:
        told = f"{error.object.strip()[:60]!r} holds half a surrogate pair"
        raise DataError(f"{path}: cannot be written: {told}; write whole characters") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_parquet(path: Path, run: Scores) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "query": pa.array(run.queries, pa.string()),
        "doc_id": pa.array(run.doc_ids, pa.string()),
        "score": pa.array(run.scores, pa.float64()),
    }
    pq.write_table(pa.table(columns), path)


def _write_lines(path: Path, run: Scores, header: str, line: _Line) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(header)
        for query, doc_id, rank, score in _ranked(run):
            file.write(line(query, doc_id, rank, score))


def _ranked(run: Scores) -> Iterator[tuple[str, str, int, float | None]]:
    rank, before = 0, None
    for query, doc_id, score in zip(run.queries, run.doc_ids, run.scores, strict=True):
        rank, before = (rank + 1 if query == before else 1), query
        yield query, doc_id, rank, score


def _header(suffix: str) -> str:
    return {".csv": "query,doc_id,score\n", ".tsv": "query\tdoc_id\tscore\n"}.get(suffix, "")


def _line_of(path: Path, suffix: str, tag: str) -> _Line:
    if suffix in (".jsonl", ".ndjson"):
        return _json_line
    write = {".csv": _csv_line, ".tsv": _tsv_line}.get(suffix, _trec_line(tag))
    format_name = {".csv": "CSV", ".tsv": "TSV"}.get(suffix, "TREC text")
    barred = "" if suffix == ".csv" else "\t"

    def line(query: str, doc_id: str, rank: int, score: float | None) -> str:
        for name in (query, doc_id):
            if (barred and barred in name) or name.splitlines() != [name]:
                told = f"is empty or holds a {'tab or ' if barred else ''}line end, which {format_name} cannot"
                raise DataError(f"{path}: {name!r} {told}; write .jsonl")
        return write(query, doc_id, rank, score)

    return line


def _json_line(query: str, doc_id: str, rank: int, score: float | None) -> str:
    del rank
    return json.dumps({"query": query, "doc_id": doc_id, "score": score}, ensure_ascii=False) + "\n"


def _csv_line(query: str, doc_id: str, rank: int, score: float | None) -> str:
    del rank
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([query, doc_id, "" if score is None else score])
    return line.getvalue()


def _tsv_line(query: str, doc_id: str, rank: int, score: float | None) -> str:
    del rank
    return f"{query}\t{doc_id}\t{'' if score is None else score}\n"


def _trec_line(tag: str) -> _Line:
    def line(query: str, doc_id: str, rank: int, score: float | None) -> str:
        return f"{query}\tQ0\t{doc_id}\t{rank}\t{'nan' if score is None else score}\t{tag}\n"

    return line
