"""Reading one cell of a table: a raw value in, a checked value out, or a ValueError that says what to do.

A raw value is what its format gives: always a string in CSV, a JSON value in JSONL, a Python value in Parquet. A cell
that is absent, null, or blank never comes here: it is missing.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

MAX_TEXT_CHARS = 1_000_000
MAX_ID_CHARS = 1_024
MAX_PATH_CHARS = 4_096
MAX_FRAMES = 10_000
#: Endings that make an `asr` cell the path of a transcript instead of the transcript itself.
TRANSCRIPT_SUFFIXES = (".srt", ".vtt", ".json")

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")
_UNWRITABLE = re.compile("[\ud800-\udfff\0]")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def shown(value: object) -> str:
    """Give a value as a message shows it: short, control characters escaped."""
    text = repr(value[:80] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 64 else f"{text[:60]}…"


def text(value: object) -> str:
    """Read a text, verbatim.

    Raises:
        ValueError: it is no text, is longer than `MAX_TEXT_CHARS`, or holds what no UTF-8 file can hold (invalid bytes,
            half a surrogate pair) or most programs cannot (a NUL).
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="surrogateescape")
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text; write it in quotes")
    if len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"the text has {len(value):,} characters; at most {MAX_TEXT_CHARS:,} are read: shorten it")
    if "\0" in value:
        raise ValueError("the text holds a NUL character; remove it")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"invalid UTF-8 at character {error.start + 1}; save the table as UTF-8") from None
    return value


def doc_id(value: object) -> str:
    """Read a document id, verbatim; whole numbers (JSON, Parquet) become their decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str | bytes):
        raise ValueError(f"{shown(value)} is not an id; write it as a text or a whole number")
    name = text(value)
    if len(name) > MAX_ID_CHARS:
        raise ValueError(f"the id has {len(name):,} characters; at most {MAX_ID_CHARS:,} are allowed")
    return name


def integer(value: object, *, least: int) -> int:
    """Read a whole number of at least `least`; 2.0 counts as 2 (programs write so when a column has gaps)."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    elif isinstance(value, str):
        value = number(value) if _NUMBER.fullmatch(value.strip()) else value
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a whole number")
    if not least <= value < 2**62:
        raise ValueError(f"{shown(value)} is out of range; it must be {least} or more")
    return value


def position(value: object) -> int:
    """Read a place in a result list: 1 = top."""
    return integer(value, least=1)


def grade(value: object) -> int:
    """Read a human grade: 0 = irrelevant, higher = better."""
    return integer(value, least=0)


def number(value: object) -> float:
    """Read a finite number."""
    written = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
    if not (written or isinstance(value, int | float | Decimal)) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a number")
    try:
        given = float(value)  # type: ignore[arg-type]
    except OverflowError:
        given = math.inf
    if not math.isfinite(given):
        raise ValueError(f"{shown(value)} is not a finite number; leave the cell empty when it is unknown")
    return given


def seconds(value: object) -> float:
    """Read a length of time in seconds, 0 or more."""
    length = number(value)
    if length < 0:
        raise ValueError(f"{shown(value)} is negative; seconds are 0 or more")
    return length


def truth(value: object) -> bool:
    """Read true or false: a boolean, 1 or 0, or (CSV) the words true and false in any case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    raise ValueError(f"{shown(value)} is not a truth value; write true, false, 1 or 0")


def moment(value: object) -> datetime:
    """Read an ISO 8601 date or date and time; without an offset it is UTC, so that any two can be compared."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    written = value.strip() if isinstance(value, str) else ""
    # A Unix time in milliseconds would pass as a date of another century.
    if not written.isdigit() or len(written) == len("20230511"):
        try:
            return moment(datetime.fromisoformat(written))
        except ValueError:
            pass
    raise ValueError(f"{shown(value)} is not an ISO 8601 date; write 2023-05-11 or 2023-05-11T18:30:00+08:00")


def media_path(value: object, *, folder: str) -> str:
    """Read the place of a file: an absolute path or an fsspec URI as it is, anything else relative to `folder`.

    Raises:
        ValueError: a relative path holds `..`: a table names files beside it or below, unless it says where in full.
    """
    path = text(value)
    if len(path) > MAX_PATH_CHARS:
        raise ValueError(f"the path has {len(path):,} characters; at most {MAX_PATH_CHARS:,} are allowed")
    if _URI.match(path) or os.path.isabs(path):
        return path
    if ".." in path.split("/"):
        raise ValueError(f"{shown(path)} leaves the folder of the table; write the absolute path")
    return os.path.normpath(os.path.join(folder, path))


def mended(text: str) -> str:
    """Give a text in which U+FFFD stands for each character that no UTF-8 file can hold, and each NUL."""
    return _UNWRITABLE.sub("\ufffd", text)


def transcript(value: object, *, folder: str, changed: Counter[str] | None = None) -> str:
    """Read a transcript: the text itself, or (one line that ends in .srt, .vtt or .json) the place of its file.

    Programs write transcripts, and a fault in one is not worth a table: where a text is longer than `MAX_TEXT_CHARS`,
    or holds what `text` refuses, it is cut or `mended`, and `changed` counts that as `cut` or `mended`.
    """
    written: object = value.decode("utf-8", errors="surrogateescape") if isinstance(value, bytes) else value
    if isinstance(written, str):
        whole = mended(cut := written[:MAX_TEXT_CHARS])
        if changed is not None:
            changed.update({"cut": int(cut != written), "mended": int(whole != cut)})
        written = whole
    written = text(written)
    named = written.lower().endswith(TRANSCRIPT_SUFFIXES) and len(written) <= MAX_PATH_CHARS
    return media_path(written, folder=folder) if named and "\n" not in written else written


def media_paths(value: object, *, folder: str) -> tuple[str, ...] | None:
    """Read a list of places; in CSV a JSON list in one cell. An empty list is missing (None)."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f'{shown(value)} is not a JSON list; write ["frames/1.jpg", "frames/2.jpg"]') from None
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list of paths")
    if len(value) > MAX_FRAMES:
        raise ValueError(f"the list has {len(value):,} paths; at most {MAX_FRAMES:,} are allowed")
    if not all(isinstance(item, str | bytes) and item.strip() for item in value):
        raise ValueError("the list holds an empty path or something that is not a path")
    return tuple(media_path(item, folder=folder) for item in value) or None
