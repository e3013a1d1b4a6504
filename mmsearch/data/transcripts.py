"""Transcripts: the text of an `asr` cell, which is the text itself or the path of a .srt, .vtt or .json file."""

from __future__ import annotations

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
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
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
    if not _is_path(asr):
        return asr
    file = check_file(asr, limits.max_transcript_bytes)
    lines = _READERS[file.suffix.lower()](_read(file), file)
    return mended("\n".join(_without_repeats(line for line in lines if line)))


def _is_path(asr: str) -> bool:
    suffix = asr.lower().endswith(tuple(_READERS)) and len(asr) <= _MAX_PATH_CHARS and "\n" not in asr
    return suffix and (os.path.isabs(asr) or "://" in asr)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\0", "")
    except UnicodeDecodeError as error:
        raise MediaError("bad_transcript", f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise MediaError("unreadable_file", f"{file}: {error.strerror}") from error


def _subtitles(text: str, file: Path) -> Iterator[str]:
    """Give the text of the cues of SubRip or WebVTT: in each block, the lines after the timing line."""
    blocks = [block.strip().split("\n") for block in re.split(r"\n\s*\n", text)]
    cues = 0
    for lines in blocks:
        timing = next((i for i, line in enumerate(lines[:2]) if _TIMING.match(line)), None)
        if timing is None and lines != [""] and not lines[0].startswith(_VTT_BLOCKS):
            raise MediaError("bad_transcript", f"{file}: a block without a timing line: {lines[0][:60]!r}")
        if timing is not None:
            cues += 1
            yield " ".join(_TAG.sub("", line).strip() for line in lines[timing + 1 :]).strip()
    if not cues and text.strip() and not text.startswith("WEBVTT"):
        raise MediaError("bad_transcript", f"{file}: no cue in it")


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
