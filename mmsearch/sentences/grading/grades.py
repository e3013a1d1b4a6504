"""Grades on disk: one JSON line each, durable before the grader hears that it is saved."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmsearch.errors import DataError, TableError
from mmsearch.files import fsync_folder, write_bytes
from mmsearch.sentences.grading.sheet import SIDES, Sheet, Side

#: 0 = says nothing of the video, 1 = says something of it, 2 = says what the video is about.
GRADES = (0, 1, 2)
#: An answer of a sheet: doc_id and side.
Place = tuple[str, Side]

_LONGEST_LINE = 8192


class GradeFile:
    """The grades of a sheet.

    A grade is appended by one write and fsynced, so that a killed process loses none that was saved; of several for
    an answer the last counts, and null takes a grade back. A half line at the end, as a crash of the machine may leave,
    is dropped. One process at a time may hold a file open for writing (`mmsearch.files.sole_writer`).

    Args:
        path: a JSONL file of {"sheet", "doc_id", "side", "grade", "at"}, made by the first grade; those that the page
            gives for download look the same.
        sheet: what is graded.

    Raises:
        TableError: a line is no grade of this sheet.
    """

    def __init__(self, path: Path, sheet: Sheet) -> None:
        self.path, self._sheet_id = path, sheet.id
        self._places: set[Place] = {
            (item.doc_id, side) for item in sheet.items for side in (SIDES[:1] if item.is_same else SIDES)
        }
        self._lock = threading.Lock()
        self.grades: dict[Place, int] = {}
        for number, row in _lines(path):
            try:
                self._set(*self._checked(row))
            except ValueError as error:
                raise TableError(path, number, None, f"{error}; correct or remove the line") from error

    def save(self, row: Mapping[str, Any]) -> None:
        """Keep a grade; when this returns, it is on the disk.

        Args:
            row: `sheet`, `doc_id`, `side` and `grade`.

        Raises:
            ValueError: there is no such sheet, answer or grade; nothing is kept.
            OSError: it cannot be written; nothing is kept.
        """
        place, grade = self._checked(row)
        kept = {"sheet": self._sheet_id, "doc_id": place[0], "side": place[1], "grade": grade}
        line = json.dumps(kept | {"at": datetime.now(UTC).isoformat(timespec="seconds")}, ensure_ascii=False)
        with self._lock:
            _append(self.path, line.encode() + b"\n")
            self._set(place, grade)

    def _checked(self, row: Any) -> tuple[Place, int | None]:
        if not isinstance(row, Mapping) or row.get("sheet") != self._sheet_id:
            raise ValueError("this is no grade of this sheet")
        doc_id, side, grade = row.get("doc_id"), row.get("side"), row.get("grade", "none")
        if not isinstance(doc_id, str) or side not in SIDES or (place := (doc_id, side)) not in self._places:
            raise ValueError("there is no such answer in the sheet")
        if grade is not None and (type(grade) is not int or grade not in GRADES):
            raise ValueError("a grade is 0, 1, 2, or null to take it back")
        return place, grade

    def _set(self, place: Place, grade: int | None) -> None:
        if grade is None:
            self.grades.pop(place, None)
        else:
            self.grades[place] = grade


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Give the lines of the file; half a line at its end is dropped, here and in the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data) and not _is_json(data[len(whole) :]):
        write_bytes(path, whole)
    elif len(whole) < len(data):
        whole = data + b"\n"
        write_bytes(path, whole)
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        if line.strip():
            if len(line) > _LONGEST_LINE or not _is_json(line):
                raise TableError(path, number, None, "this is no line of JSON; correct or remove it")
            yield number, json.loads(line)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _append(path: Path, line: bytes) -> None:
    """Append a line whole or not at all."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError("no room for the whole line")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        fsync_folder(path.parent)
