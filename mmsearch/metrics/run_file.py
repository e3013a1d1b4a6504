"""Runs written to files, as `mmsearch.metrics.files` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.files import replacing
from mmsearch.metrics.join import Scores


def write_run(path: Path, run: Scores, tag: str) -> None:
    """Write a run: JSON Lines where the name ends so (.jsonl, .ndjson), else TREC text, its fields apart by tabs.

    Args:
        path: the file; it appears whole or not at all.
        run: rows of a query together, best first.
        tag: names the run in TREC text.

    Raises:
        DataError: the disk refuses, a query or id holds half a surrogate pair, or it is empty or holds a tab or line
            end and cannot stand in TREC text.
    """
    line = _json_line if path.suffix.lower() in (".jsonl", ".ndjson") else _trec_line(path, tag)
    try:
        with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
            rank, before = 0, None
            for query, doc_id, score in zip(run.queries, run.doc_ids, run.scores, strict=True):
                rank, before = (rank + 1 if query == before else 1), query
                file.write(line(query, doc_id, rank, score))
    except UnicodeEncodeError as error:
        told = f"{error.object.strip()[:60]!r} holds half a surrogate pair"
        raise DataError(f"{path}: cannot be written: {told}; write whole characters") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _json_line(query: str, doc_id: str, rank: int, score: float | None) -> str:
    del rank
    return json.dumps({"query": query, "doc_id": doc_id, "score": score}, ensure_ascii=False) + "\n"


def _trec_line(path: Path, tag: str) -> Callable[[str, str, int, float | None], str]:
    def line(query: str, doc_id: str, rank: int, score: float | None) -> str:
        for name in (query, doc_id):
            if "\t" in name or name.splitlines() != [name]:
                told = "is empty or holds a tab or line end, which TREC text cannot"
                raise DataError(f"{path}: {name!r} {told}; write .jsonl")
        return f"{query}\tQ0\t{doc_id}\t{rank}\t{'nan' if score is None else score}\t{tag}\n"

    return line
