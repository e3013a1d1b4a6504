"""Transcripts: the text of an `asr` cell, which is the text itself or the path of a .srt, .vtt or .json file."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmsearch.data.media import MediaLimits, check_file
from mmsearch.data.values import mended
from mmsearch.errors import MediaError

_MAX_PATH_CHARS = 4096
_TIMING = re.compile(r"^\s*[\d:.,]+\s*-->\s*[\d:.,]+")
#: <i>, </i>, <v Ann>, <c.loud>, <00:01.500> and {\\an8}; not the signs in `3 < 5`.
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|</?>|<\d[\d:.,]{0,30}>|\{\\[^{}]{0,200}\}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,8});")
#: What looks like a timing line that is none.
_TIME = re.compile(r"\d+:\d\d")
#: Changes when the same file would give another text.
TRANSCRIPT_VERSION = 2
_VTT_BLOCKS = ("WEBVTT", "NOTE", "STYLE", "REGION")


def transcript_text(asr: str, limits: MediaLimits) -> str:
    """Give the words of an `asr` cell, one segment a line, times and markup left out.

    Args:
        asr: one line that is an absolute path or URI ending in .srt, .vtt or .json is read; anything else is the
            transcript itself, and comes back verbatim. JSON holds a list of [start, end, text] or of
            {"start", "end", "text"}, or an object with such a list under "segments".
        limits: bound on the size of the file.

    Raises:
        MediaError: those of `check_file`, or `bad_transcript`.
    """
    if not is_transcript_file(asr):
        return asr
    file = check_file(asr, limits.max_transcript_bytes)
    suffix = next(suffix for suffix in _READERS if asr.lower().endswith(suffix))
    lines = _READERS[suffix](_read(file), file)
    return mended("\n".join(_without_repeats(line for line in lines if line)))


def is_transcript_file(asr: str) -> bool:
    """Tell whether an `asr` cell names a file."""
    suffix = asr.lower().endswith(tuple(_READERS)) and len(asr) <= _MAX_PATH_CHARS and "\n" not in asr
    return suffix and (os.path.isabs(asr) or "://" in asr)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    except UnicodeDecodeError as error:
        raise MediaError("bad_transcript", f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise MediaError("unreadable_file", f"{file}: {error.strerror}") from error


def _subtitles(text: str, file: Path) -> Iterator[str]:
    """Give the text of the cues of SubRip or WebVTT: in each block, the lines after the timing line.

    A block without one goes on with the cue before, as a blank line may stand in the text of a cue.
    """
    blocks = [block.strip().split("\n") for block in re.split(r"\n\s*\n", text)]
    cues = 0
    for lines in blocks:
        timing = next((i for i, line in enumerate(lines[:2]) if _TIMING.match(line)), None)
        if timing is None and (lines == [""] or lines[0].startswith(_VTT_BLOCKS)):
            continue
        if timing is None and (not cues or any(map(_TIME.search, lines[:2]))):
            raise MediaError("bad_transcript", f"{file}: a block without a timing line: {lines[0][:60]!r}")
        cues += timing is not None
        yield _spoken(lines[0 if timing is None else timing + 1 :])
    if not cues and text.strip() and not text.startswith("WEBVTT"):
        raise MediaError("bad_transcript", f"{file}: no cue in it")


def _spoken(lines: Iterable[str]) -> str:
    """Give the words of a cue: markup left out, entities (WebVTT's &amp; and others) as the characters they mean."""
    words = " ".join(_TAG.sub("", line) for line in lines)
    return " ".join(_ENTITY.sub(lambda found: html.unescape(found.group()), words).split())


def _segments(text: str, file: Path) -> Iterator[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MediaError("bad_transcript", f"{file}: not JSON: {error}") from error
    segments = value.get("segments") if isinstance(value, dict) else value
    if not isinstance(segments, list):
        raise MediaError("bad_transcript", f"{file}: neither a list of segments nor an object with 'segments'")
    for number, segment in enumerate(segments):
        words = _words(segment)
        if words is None:
            form = '[start, end, text] or {"start", "end", "text"}'
            raise MediaError("bad_transcript", f"{file}: segment {number} is not {form}")
        yield words


def _words(segment: Any) -> str | None:
    if isinstance(segment, list) and len(segment) == 3:
        segment = {"text": segment[2]}
    words = segment.get("text") if isinstance(segment, dict) else None
    return " ".join(words.split()) if isinstance(words, str) else None


def _without_repeats(lines: Iterable[str]) -> Iterator[str]:
    """Leave out a line that repeats the one before: rolling captions show each line twice."""
    for before, line in pairwise(["", *lines]):
        if line != before:
            yield line


_READERS: Mapping[str, Callable[[str, Path], Iterator[str]]] = {
    ".srt": _subtitles,
    ".vtt": _subtitles,
    ".json": _segments,
}
