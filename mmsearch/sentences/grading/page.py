"""The page that people grade on: one file that holds all it needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from mmsearch.sentences.grading.sheet import Item, Sheet


def render(sheet: Sheet) -> str:
    """Draw the page of a sheet.

    It loads nothing: its Content-Security-Policy names the hashes of its one style sheet and its one script, and lets
    the script speak to the server that the page came from alone. Texts reach the page as JSON without a `<`, and are
    put into text nodes only; Trusted Types refuse any other way where a browser knows them. The page does not hold
    which method an answer is of.
    """
    style, script = (_read(name) for name in ("page.css", "page.js"))
    parts = {"policy": content_policy(), "style": style, "script": script, "sheet": _embedded(_shown(sheet))}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], _read("page.html"))


@cache
def content_policy() -> str:
    """Give the policy of the page, which the server sends with it as well."""
    style, script = (
        base64.b64encode(hashlib.sha256(_read(name).encode()).digest()).decode("ascii")
        for name in ("page.css", "page.js")
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def find_marks(transcript: str, answers: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Give where the sentences of both answers stand in the transcript: ascending, not overlapping, start and end.

    Counted in UTF-16 units, as strings of a page are. A sentence that the transcript shown does not hold has no mark;
    of one that it holds several times, the first is marked.
    """
    starts = ((transcript.find(text), len(text)) for answer in answers for text in answer)
    found = sorted({(start, start + length) for start, length in starts if start >= 0})
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return list(_in_utf16(transcript, joined))


def _in_utf16(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    behind = units = 0
    for start, end in spans:
        first = units + _units(text[behind:start])
        units = first + _units(text[start:end])
        behind = end
        yield first, units


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _shown(sheet: Sheet) -> dict[str, Any]:
    return {"id": sheet.id, "items": [_item(item) for item in sheet.items]}


def _item(item: Item) -> dict[str, Any]:
    answers = [item.answers[name].sentences for name in (item.order[:1] if item.is_same else item.order)]
    return {
        "doc_id": item.doc_id,
        "title": item.title,
        "transcript": item.transcript,
        "hidden": item.hidden_chars,
        "marks": find_marks(item.transcript, answers),
        "answers": answers,
    }


def _embedded(value: Any) -> str:
    """Give JSON that no HTML parser takes for anything but text."""
    plain = json.dumps(value, ensure_ascii=True)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return files("mmsearch.sentences.grading").joinpath(name).read_text(encoding="utf-8")
