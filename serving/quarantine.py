"""The list of videos that could not be embedded: `INDEX/quarantine.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.files import replacing
from serving.work_item import Quarantined, Reason


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A line of the list: the video, and the key of the content and the model with which it failed."""

    video: Quarantined
    key: str


def quarantine_of(index_dir: Path) -> Path:
    """Give the file of an index."""
    return index_dir / "quarantine.jsonl"


def write_quarantine(index_dir: Path, rows: Iterable[QuarantinedRow]) -> None:
    """Write the list over the one before, in the order of ids; an empty list is no file.

    Raises:
        DataError: the disk refuses.
    """
    path = quarantine_of(index_dir)
    lines = [
        json.dumps(
            {"doc_id": r.video.doc_id, "reason": r.video.reason, "detail": r.video.detail, "key": r.key},
            ensure_ascii=False,
        )
        for r in sorted(rows, key=lambda row: row.video.doc_id)
    ]
    try:
        if not lines:
            path.unlink(missing_ok=True)
            return
        with replacing(path) as beside:
            beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}; make room and refresh again") from error


def read_quarantine(index_dir: Path) -> list[QuarantinedRow]:
    """Read the list; none when there is no file.

    Raises:
        DataError: the file does not hold such a list; remove it, and these videos are tried again.
    """
    path = quarantine_of(index_dir)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; remove it, and these videos are tried again") from error
    return [_row(path, number, line) for number, line in enumerate(lines, 1) if line]


def _row(path: Path, number: int, line: str) -> QuarantinedRow:
    try:
        row = json.loads(line)
        video = Quarantined(str(row["doc_id"]), Reason(row["reason"]), str(row["detail"]))
        return QuarantinedRow(video, str(row["key"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}:{number}: is no line of a quarantine ({error}); remove the file, and these videos are tried again"
        ) from error
