"""The exceptions that mmsearch raises, on one page.

    MmsearchError
    ├── ConfigError          a setting is unknown, ill-typed or contradicts another          exit code 2
    ├── MissingExtraError    an optional library is not installed                            exit code 2
    ├── DataError            an input table, file or folder cannot be used                   exit code 3
    │   ├── TableError       a row or column of a table: FILE:LINE: column: what, what to do
    │   └── MediaError       a picture or video: carries a short reason code
    ├── IntegrityError       stored bytes are not what was written, or not meant together    exit code 4
    │   ├── CorruptIndexError      a checksum, size or header of an index does not hold
    │   ├── FormatVersionError     written by a newer mmsearch than this one
    │   └── FingerprintError       query tower and vectors come from different models
    ├── DeadlineError        nothing of an answer was there in time                          exit code 1
    └── PartialResultError   the job ended, and some of its items did not                    exit code 5

A message says what happened, in which file, row or key, and what to do next. The command line prints it without a
traceback (``--debug`` shows one) and exits with ``exit_code``.
"""

from __future__ import annotations

from pathlib import Path


class MmsearchError(Exception):
    """The root of every error that mmsearch raises on purpose."""

    exit_code = 1


class ConfigError(MmsearchError):
    """A setting is unknown, has the wrong type, or contradicts another one."""

    exit_code = 2


class MissingExtraError(MmsearchError, ImportError):
    """An optional library is needed and absent; the message holds the pip line that brings it."""

    exit_code = 2


class DataError(MmsearchError):
    """An input table, file or folder cannot be used."""

    exit_code = 3


class TableError(DataError):
    """A row or column of a table is wrong.

    Args:
        path: the table.
        line: line in the file (CSV, JSONL: counted from 1, the CSV header included), or row number from 1 (Parquet);
            None when the whole file is meant.
        column: the column, or None when the whole row is meant.
        problem: what is wrong and what to do.
    """

    def __init__(self, path: Path | str, line: int | None, column: str | None, problem: str) -> None:
        self.path, self.line, self.column, self.problem = str(path), line, column, problem
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {column}: {problem}" if column else f"{where}: {problem}")

    def __reduce__(self) -> tuple[type[TableError], tuple[str, int | None, str | None, str]]:
        return type(self), (self.path, self.line, self.column, self.problem)


class MediaError(DataError):
    """A picture or video cannot be used.

    Args:
        reason: a short stable code such as ``truncated`` or ``no_video_stream``, for counting.
        detail: what was found, in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class IntegrityError(MmsearchError):
    """Stored bytes are not what was written, or two stored things do not belong together."""

    exit_code = 4


class CorruptIndexError(IntegrityError):
    """A checksum, size or header of a forward index does not hold."""


class FormatVersionError(IntegrityError):
    """The files were written in a format newer than this version reads."""


class FingerprintError(IntegrityError):
    """A query tower and the vectors were not made by the same model."""


class DeadlineError(MmsearchError):
    """Nothing of an answer was there in time; a part of one is an answer, and says so."""


class PartialResultError(MmsearchError):
    """The job ended, and some of its items did not; the message says how many and where they are listed."""

    exit_code = 5
