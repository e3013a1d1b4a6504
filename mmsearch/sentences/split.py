"""Split a transcript into sentences, verbatim: Chinese, English, and speech without punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: Grows when the same text would be split differently; it is part of what results are cached by.
SPLIT_VERSION = 1

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_CLOSING = r"[\"'”’»）)\]】〕」』》〉]*+"
# A full stop counts before a blank or the end alone, so that 3.14 and a.b stay whole. Nothing here can backtrack:
# runs are possessive, and a run of stops is looked at from its first one only.
_END = re.compile(rf"(?:[。！？!?…｡‼⁇⁈⁉؟।]++|(?<!\.)\.++(?={_CLOSING}(?:\s|$))){_CLOSING}")
_BEFORE_STOP = re.compile(r"[^\W\d_][\w.]*$|\d+$")
_SHORT = (
    "mr mrs ms dr prof rev hon st mt vs etc e.g i.e cf fig figs eq eqs no nos vol ed eds al approx inc ltd co corp "
    "jr sr a.m p.m u.s u.k jan feb mar apr jun jul aug sep sept oct nov dec"
)
_ABBREVIATIONS = frozenset(_SHORT.split())
_WEAK = re.compile(r"[，,、；;：:—–]+[\"'”’）)]*|\s+")
_CONTINUES = ("，", ",", "、", "；", ";", "：", ":")
_LONGEST_MARKED = 40
_LONGEST_CLUSTER = 16


def split_sentences(text: str, max_chars: int = 120) -> list[str]:
    """Give the sentences of a text: substrings of it, in order, not overlapping, each with a letter or digit.

    A sentence ends at `。！？!?…` and at a full stop before a blank (not after an abbreviation, an initial or a list
    number), closing quotes included. A line end is a pause, and ends it too, unless the text is punctuated and the
    line goes on (after a comma, or in lower case). What is still longer than `max_chars`, as speech recognised without
    punctuation is, is cut into parts about alike, behind commas or blanks, else between characters. Time and memory are
    linear in the text.

    Args:
        text: any string; its characters come back as they are.
        max_chars: most characters of a sentence, 8 or more.

    Raises:
        ValueError: `max_chars` is below 8.
    """
    if max_chars < 8:
        raise ValueError(f"max_chars must be 8 or more, not {max_chars}")
    pieces: list[str] = []
    for start, end in _blocks(text):
        for first, last in _sentences(text, start, end):
            for cut in _cuts(text, first, last, max_chars):
                piece = text[slice(*cut)].strip()
                if any(character.isalnum() for character in piece):
                    pieces.append(piece)
    return pieces


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Give stretches of lines that belong together; single lines where line ends are all the punctuation there is."""
    lines = [match.span() for match in _LINE.finditer(text) if not match.group().isspace()]
    ended = [_END.search(text, max(end - _LONGEST_MARKED, start), end) is not None for start, end in lines]
    punctuated = 4 * sum(ended) >= len(lines)
    begin: int | None = None
    for number, (start, end) in enumerate(lines):
        begin = start if begin is None else begin
        following = text[slice(*lines[number + 1])].lstrip()[:1] if number + 1 < len(lines) else ""
        if not (punctuated and following and _goes_on(text[start:end].rstrip(), following)):
            yield begin, end
            begin = None


def _goes_on(line: str, following: str) -> bool:
    if line.endswith(_CONTINUES):
        return True
    return following.islower() and _END.search(line, max(0, len(line) - 8)) is None


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for match in _END.finditer(text, start, end):
        if text[match.start()] == "." and _is_within(text, begin, match.start()):
            continue
        yield begin, match.end()
        begin = match.end()
    if begin < end:
        yield begin, end


def _is_within(text: str, begin: int, stop: int) -> bool:
    """Tell whether a full stop belongs to an abbreviation, an initial, or the number of a list item."""
    found = _BEFORE_STOP.search(text, max(begin, stop - 12), stop)
    if found is None or text[stop : stop + 2] == "..":
        return False
    word = found.group()
    if word.isdigit():
        return not text[begin : found.start()].strip() and len(word) <= 3
    alone = found.start() == begin or not text[found.start() - 1].isalnum()
    initial = len(word) == 1 and word.isascii() and word.isupper() and word != "I"
    return alone and (initial or word.lower() in _ABBREVIATIONS)


def _cuts(text: str, start: int, end: int, max_chars: int) -> Iterator[tuple[int, int]]:
    while end - start > max_chars:
        even = start + -(-(end - start) // -(-(end - start) // max_chars))  # parts alike, or a scrap is left over
        first, last = max(start + max_chars // 2, even - max_chars // 4), start + max_chars
        places = [match.end() for match in _WEAK.finditer(text, first, last)]
        cut = min(places, key=lambda at: abs(at - even)) if places else _between_characters(text, even)
        yield start, cut
        start = cut
    yield start, end


def _between_characters(text: str, at: int) -> int:
    """Move a cut back, a few steps at most, so that what one sees as one character (accents, emoji) stays whole."""
    for step in range(_LONGEST_CLUSTER):
        here, before = text[at - step], text[at - step - 1]
        joined = here == "\u200d" or before == "\u200d" or 0xFE00 <= ord(here) <= 0xFE0F or "🏻" <= here <= "🏿"
        if not joined and not unicodedata.combining(here):
            return at - step
    return at
