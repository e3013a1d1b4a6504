"""What was recognised, kept on disk: so that a run that was killed does not read and listen again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import DataError
from mmsearch.files import hash_bytes
from mmsearch.protocols import Float32, Segment, TextBox, TextReader, Transcriber, UInt8

#: The file's name in the folder of a prepared corpus.
RECOGNISED = "recognised.sqlite"

_WAIT_S = 60.0
_TABLES = (
    "CREATE TABLE IF NOT EXISTS recognised (key TEXT PRIMARY KEY, found TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS speech (doc_id TEXT PRIMARY KEY, segments TEXT NOT NULL) WITHOUT ROWID",
)


class Kept:
    """A SQLite file (write-ahead log) that the worker processes of a machine share; each result is kept at once.

    Two tables: `recognised` (by a hash of the recogniser's settings and of the pixels or samples, what it found, so
    that nothing is recognised twice), and `speech` (by `doc_id`, the segments that its transcript is made of, a list of
    [start_s, end_s, text]). It can be sent to other processes, which open the file anew. Where the file fails later on
    (a full disk, a lock for a minute), nothing is found or kept, and the work goes on.

    Args:
        path: the file; made where it is absent, with the first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def check(self) -> None:
        """Open the file, or make it.

        Raises:
            DataError: it cannot be, or is a file of something else.
        """
        try:
            self._database.execute("SELECT count(*) FROM recognised, speech WHERE 0")
        except (sqlite3.Error, OSError) as error:
            told = "where it is damaged, move it away, and it is made anew"
            raise DataError(f"{self.path}: cannot keep what is recognised ({error}); {told}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if "_database" in self.__dict__:
            self._database.close()
            del self.__dict__["_database"]

    def get(self, key: str) -> Any:
        """Give what was found; None = nothing is kept."""
        with contextlib.suppress(sqlite3.Error, ValueError, RecursionError):
            rows = self._database.execute("SELECT found FROM recognised WHERE key = ?", (key,)).fetchall()
            return json.loads(rows[0][0]) if rows else None
        return None

    def put(self, key: str, found: Any) -> None:
        """Keep what was found, JSON values."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("INSERT OR REPLACE INTO recognised VALUES (?, ?)", (key, _json(found)))

    def put_speech(self, doc_id: str, segments: Sequence[Segment]) -> None:
        """Keep the segments of a video's speech; of two for one video the later ones stay."""
        rows = [[round(segment.start_s, 3), round(segment.end_s, 3), segment.text] for segment in segments]
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("INSERT OR REPLACE INTO speech VALUES (?, ?)", (doc_id, _json(rows)))

    def speech(self, doc_id: str) -> list[Segment] | None:
        """Give the segments of a video's speech; None = nothing was recognised of it.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            rows = self._database.execute("SELECT segments FROM speech WHERE doc_id = ?", (doc_id,)).fetchall()
            return _segments(json.loads(rows[0][0])) if rows else None
        except (sqlite3.Error, ValueError) as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error

    @cached_property
    def _database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # a power loss may cost the last results, never the file
            for statement in _TABLES:
                database.execute(statement)
        except sqlite3.Error:
            database.close()
            raise
        return database


class KeptReader:
    """Reads pictures by another reader, each once.

    Args:
        reader: what reads a picture that is new.
        kept: where its boxes are kept.
        recipe: the settings of the reader, and whatever else its boxes depend on.
    """

    def __init__(self, reader: TextReader, kept: Kept, recipe: str) -> None:
        self._reader, self._kept, self._recipe = reader, kept, recipe.encode()

    def read(self, picture: UInt8) -> list[TextBox]:
        """Give the pieces of text in an RGB picture, [H, W, 3]; errors are those of the reader."""
        data = np.ascontiguousarray(picture)
        key = hash_bytes(b"picture 1", self._recipe, repr(data.shape).encode(), data.tobytes())
        boxes = _boxes(self._kept.get(key))
        if boxes is None:
            boxes = self._reader.read(picture)
            rows = [[np.asarray(box.corners, np.float64).tolist(), box.text, box.confidence] for box in boxes]
            self._kept.put(key, rows)
        return boxes


class KeptTranscriber:
    """Recognises speech by another transcriber, each sound once.

    Args:
        transcriber: what listens to a sound that is new.
        kept: where its segments are kept.
        recipe: the settings of the transcriber, and whatever else its segments depend on.
    """

    def __init__(self, transcriber: Transcriber, kept: Kept, recipe: str) -> None:
        self._transcriber, self._kept, self._recipe = transcriber, kept, recipe.encode()

    def transcribe(self, sound: Float32) -> list[Segment]:
        """Give the segments of mono sound at 16 kHz, [samples]; errors are those of the transcriber."""
        key = hash_bytes(b"sound 1", self._recipe, np.ascontiguousarray(sound).tobytes())
        segments = _segments(self._kept.get(key))
        if segments is None:
            segments = self._transcriber.transcribe(sound)
            self._kept.put(key, [[segment.start_s, segment.end_s, segment.text] for segment in segments])
        return segments


def _json(value: Any) -> str:
    return json.dumps(value)  # as ASCII: a recogniser may give halves of characters


def _boxes(found: Any) -> list[TextBox] | None:
    """Read boxes, strictly: the file may come from anywhere."""
    try:
        boxes = [TextBox(np.array(c, np.float32).reshape(4, 2), str(text), float(sure)) for c, text, sure in found]
    except (TypeError, ValueError):
        return None
    return boxes if all(np.isfinite(box.corners).all() for box in boxes) else None


def _segments(found: Any) -> list[Segment] | None:
    try:
        return [Segment(float(start), float(end), str(text)) for start, end, text in found]
    except (TypeError, ValueError):
        return None
