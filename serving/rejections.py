"""Ids of the videos that preparation rejected, as the prepared corpus lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mmsearch.data.prepare import REJECTED, REJECTED_ROWS
from mmsearch.data.prepared import PreparedCorpus

_BLOCK = 8192


def rejected_list(corpus: PreparedCorpus) -> Path:
    """Give the corpus' list of what was rejected."""
    return corpus.folder / REJECTED


def rejected_ids(corpus: PreparedCorpus) -> Iterator[list[str]]:
    """Give the ids of videos of which something was rejected, in blocks; one may come several times.

    Rows of the table that were put aside are among them, where their ids could be read. A list that is gone or damaged
    gives what can be read of it: it only says why a video is not in the corpus.
    """
    ids = _ids(corpus)
    while block := list(islice(ids, _BLOCK)):
        yield block


def _ids(corpus: PreparedCorpus) -> Iterator[str]:
    for line in _lines(rejected_list(corpus)):
        yield from _texts(line.get("doc_id"))
    if corpus.settings.on_error == "quarantine":  # else the list is one of an earlier run
        for line in _lines(corpus.folder / REJECTED_ROWS):
            row = line.get("row")
            yield from _texts(row.get("doc_id") if isinstance(row, dict) else None)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield found
    except OSError:
        return


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) and value else []
