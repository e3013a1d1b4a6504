"""What models chose, kept on disk: numbers by the hash of what was asked, and no text at all."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError, IntegrityError

_WAIT_S = 60.0
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, numbers TEXT NOT NULL, problem TEXT) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a model said: the numbers that were read from it, or why none could be (in our words)."""

    numbers: tuple[float, ...]
    problem: str | None = None


class AnswerCache:
    """A SQLite file (write-ahead log) that threads and processes of one machine share; every answer is kept at once.

    Args:
        path: the file; made where it is absent.

    Raises:
        DataError: it cannot be made or opened, or is a file of something else, which is left as it is.
        IntegrityError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._check_ours()
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")  # a power loss may cost the last answers, never the file
            self._run(_TABLE)
        except (sqlite3.OperationalError, OSError) as error:
            raise DataError(f"{path}: cannot be opened as a cache: {error}") from error

    def get(self, key: str) -> Kept | None:
        """Give what is kept, None where nothing is, or nothing that can be read."""
        rows = self._run("SELECT numbers, problem FROM answers WHERE key = ?", key)
        if not rows:
            return None
        try:
            numbers = json.loads(rows[0][0])
            return Kept(tuple(float(number) for number in numbers), rows[0][1])
        except (ValueError, TypeError):
            return None

    def put(self, key: str, numbers: Sequence[float], problem: str | None = None) -> None:
        """Keep an answer; of two for one key the later one stays."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", key, json.dumps(list(numbers)), problem)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _check_ours(self) -> None:
        other = f"{self.path}: is a file of something else; give the cache another name (sentences.cache, or cache)"
        try:
            tables = {row[0] for row in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise DataError(f"{other}: {error}") from error
        if tables - {"answers"}:
            raise DataError(f"{other}: it holds other tables")

    def _run(self, statement: str, *values: str | None) -> list[tuple[str, str | None]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                problem = f"{self.path}: this cache of answers is damaged ({error})"
                raise IntegrityError(f"{problem}; move it away, and what it held is asked again") from error
