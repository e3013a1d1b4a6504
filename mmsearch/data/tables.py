"""The three input tables: videos, interactions (the click log) and judgments (human grades).

CSV (or TSV), JSON Lines (.jsonl, .ndjson) and Parquet hold the same columns:

- videos: `doc_id` (unique), and what there is of `title`, `account`, `cover`, `video`, `frames` (list of pictures in
  time order; in CSV a JSON list in one cell), `cover_ocr`, `content_ocr`, `asr` (the transcript, or the path of a .srt,
  .vtt or .json), `duration_s`, `published_at`;
- interactions: `query`, `doc_id`, and what there is of `shown_at`, `position` (1 = top), `clicked` (true), `watch_s`,
  `session_id`;
- judgments: `query`, `doc_id`, `grade` (0 = irrelevant), and `aspect` (overall).

The value in brackets is that of an absent or blank cell; without one it is None. Texts and ids are kept verbatim.
Relative paths are relative to the folder of the table. Times without an offset are UTC. Other columns are not read.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, TypeVar

from mmsearch.data.formats import check_readable, read_rows
from mmsearch.data.lines import Unreadable
from mmsearch.data.rejected import Quarantine, quarantine
from mmsearch.data.schema import INTERACTIONS, JUDGMENTS, RowError, Schema, videos
from mmsearch.data.seen import SeenIds
from mmsearch.data.values import MAX_TEXT_CHARS, shown
from mmsearch.errors import ConfigError, TableError
from mmsearch.types import Interaction, Judgment, Video

T = TypeVar("T")
OnError = Literal["stop", "quarantine"]
#: Looks at a good row and its line; raises RowError when it does not fit the rows before.
Check = Callable[[T, int], None]

_log = logging.getLogger(__name__)


def read_videos(path: Path | str, *, on_error: OnError = "stop", rejected: Path | None = None) -> Iterator[Video]:
    """Give the videos of a table, one by one; memory holds a few rows, and some 40 bytes for each id.

    Args:
        path: the table; its ending tells the format.
        on_error: `stop` raises at the first bad row; `quarantine` writes bad rows to `rejected`, warns of their
            number at the end, and goes on. What is wrong with the whole table (no such file, an absent column) stops
            in both cases. A transcript (`asr`) is cut or mended rather than refused (`values.transcript`), and a
            warning at the end counts these.
        rejected: JSON Lines file with `where`, `column`, `reason`, `row`; it takes its place when the table was read
            to its end, and is empty when every row was good.

    Raises:
        TableError: `FILE:LINE: column: what is wrong, what to do`.
        ConfigError: `quarantine` without `rejected`.
    """
    path, changed = Path(path), Counter[str]()
    schema = videos(os.path.abspath(path.parent), changed)
    return _telling(path, _read(path, schema, on_error, rejected, _unique_ids()), changed)


def read_interactions(
    path: Path | str, *, on_error: OnError = "stop", rejected: Path | None = None
) -> Iterator[Interaction]:
    """Give the rows of a click log, one by one. Arguments and errors as in `read_videos`."""
    return _read(Path(path), INTERACTIONS, on_error, rejected)


def read_judgments(path: Path | str, *, on_error: OnError = "stop", rejected: Path | None = None) -> Iterator[Judgment]:
    """Give human grades, one by one. Arguments and errors as in `read_videos`."""
    return _read(Path(path), JUDGMENTS, on_error, rejected)


def _telling(path: Path, rows: Iterator[Video], changed: Counter[str]) -> Iterator[Video]:
    """Give the rows; at their end, warn of what was changed in transcripts."""
    yield from rows
    if changed["cut"]:
        _log.warning("%s: transcripts cut at %s characters: %d", path, f"{MAX_TEXT_CHARS:,}", changed["cut"])
    if changed["mended"]:
        what = "half a surrogate pair, a NUL or invalid UTF-8, which became U+FFFD"
        _log.warning("%s: transcripts that held %s: %d", path, what, changed["mended"])


def _unique_ids() -> Check[Video]:
    seen = SeenIds()

    def check(video: Video, line: int) -> None:
        first = seen.first_line(video.doc_id, line)
        if first != line:
            problem = f"{shown(video.doc_id)} is already the id of line {first}; every video needs its own"
            raise RowError("doc_id", problem)

    return check


def _read(
    path: Path, schema: Schema[T], on_error: OnError, rejected: Path | None, check: Check[T] | None = None
) -> Iterator[T]:
    """Check the arguments now, not when the first row is asked for."""
    if on_error not in ("stop", "quarantine"):
        raise ConfigError(f"on_error: {on_error!r} is unknown; choose 'stop' or 'quarantine'")
    if on_error == "quarantine" and rejected is None:
        raise ConfigError("on_error='quarantine' needs a file for the rejected rows")
    check_readable(path)
    return _good_rows(path, schema, rejected if on_error == "quarantine" else None, check)


def _good_rows(path: Path, schema: Schema[T], rejected: Path | None, check: Check[T] | None) -> Iterator[T]:
    known = set(schema.names)
    rows = read_rows(path, schema.names, lambda line, header: schema.check_header(path, line, header))
    with quarantine(rejected) if rejected else nullcontext() as bad_rows:
        for line, cells in rows:
            try:
                if isinstance(cells, Unreadable):
                    raise RowError(None, cells.problem)
                if not cells.keys() <= known:
                    schema.report_unknown(path, cells.keys(), known)
                    known |= cells.keys()
                row = schema.row(cells)
                if check is not None:
                    check(row, line)
            except RowError as error:
                _reject(path, line, error, cells, bad_rows)
                continue
            yield row
    if bad_rows is not None and bad_rows.count:
        _log.warning("%s: bad rows left out: %d; they are listed in %s", path, bad_rows.count, rejected)


def _reject(path: Path, line: int, error: RowError, cells: object, bad_rows: Quarantine | None) -> None:
    found = TableError(path, line, error.column, error.problem)
    if bad_rows is None:
        raise found from None
    bad_rows.add(found, cells.raw if isinstance(cells, Unreadable) else cells)
