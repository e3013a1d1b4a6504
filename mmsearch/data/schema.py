"""The columns of the three tables: one schema for CSV, JSONL and Parquet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from mmsearch.data import values
from mmsearch.errors import TableError
from mmsearch.types import Interaction, Judgment, Video

T = TypeVar("T")
_log = logging.getLogger(__name__)


class RowError(Exception):
    """A row cannot be used: the column (None = the whole row) and what is wrong with it."""

    def __init__(self, column: str | None, problem: str) -> None:
        self.column, self.problem = column, problem
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, how a cell is read, and whether every row must have it."""

    name: str
    read: Callable[[object], Any]
    required: bool = False


@dataclass(frozen=True)
class Schema(Generic[T]):
    """The columns of a table and the class of its rows. A missing optional cell takes the default of the class."""

    make: Callable[..., T]
    columns: tuple[Column, ...]

    @property
    def names(self) -> frozenset[str]:
        """The known column names."""
        return frozenset(column.name for column in self.columns)

    def row(self, cells: Mapping[str, object]) -> T:
        """Build a row from raw cells.

        Raises:
            RowError: a required cell is missing or blank, or a cell cannot be read.
        """
        fields: dict[str, Any] = {}
        for column in self.columns:
            cell = cells.get(column.name)
            if cell is None or (isinstance(cell, str | bytes) and not cell.strip()):
                if column.required:
                    raise RowError(column.name, self._absence(column, cells))
                continue
            try:
                fields[column.name] = column.read(cell)
            except ValueError as error:
                raise RowError(column.name, str(error)) from None
        return self.make(**fields)

    def check_header(self, path: Path, line: int | None, header: list[str]) -> None:
        """Check the column names of a whole table, before its first row.

        Raises:
            TableError: a required column is absent, or a column stands there twice.
        """
        for name in header:
            if header.count(name) > 1:
                raise TableError(path, line, name, "the column stands there twice; rename or remove one")
        for column in self.columns:
            if column.required and column.name not in header:
                raise TableError(path, line, column.name, self._absence(column, dict.fromkeys(header)))

    def report_unknown(self, path: Path, header: Collection[str], known: Collection[str]) -> None:
        """Log the columns that are not `known`: as a warning when one looks like a misspelt absent column."""
        absent = self.names - set(header)
        for name in sorted(set(header) - set(known)):
            near = get_close_matches(name, absent, n=1, cutoff=0.8)
            said = values.shown(name)
            if near:
                _log.warning("%s: column %s is unknown and not read; did you mean '%s'?", path, said, near[0])
            else:
                _log.debug("%s: column %s is unknown and not read", path, said)

    def _absence(self, column: Column, cells: Mapping[str, object]) -> str:
        if column.name in cells:
            return "is empty; every row needs one"
        near = get_close_matches(column.name, cells.keys() - self.names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"the columns here: {', '.join(cells) or 'none'}"
        return f"the column is missing; {hint}"


def videos(folder: str, changed: Counter[str] | None = None) -> Schema[Video]:
    """Give the schema of the videos table; relative paths are under `folder`, `changed` as in `values.transcript`."""
    path = partial(values.media_path, folder=folder)
    return Schema(
        Video,
        (
            Column("doc_id", values.doc_id, required=True),
            Column("title", values.text),
            Column("account", values.text),
            Column("cover", path),
            Column("video", path),
            Column("frames", partial(values.media_paths, folder=folder)),
            Column("cover_ocr", values.text),
            Column("content_ocr", values.text),
            Column("asr", partial(values.transcript, folder=folder, changed=changed)),
            Column("duration_s", values.seconds),
            Column("published_at", values.moment),
        ),
    )


INTERACTIONS: Schema[Interaction] = Schema(
    Interaction,
    (
        Column("query", values.text, required=True),
        Column("doc_id", values.doc_id, required=True),
        Column("shown_at", values.moment),
        Column("position", values.position),
        Column("clicked", values.truth),
        Column("watch_s", values.seconds),
        Column("session_id", values.doc_id),
    ),
)

JUDGMENTS: Schema[Judgment] = Schema(
    Judgment,
    (
        Column("query", values.text, required=True),
        Column("doc_id", values.doc_id, required=True),
        Column("grade", values.grade, required=True),
        Column("aspect", values.text),
    ),
)
