"""One text from the lines of many frames: what stays on screen, comes again or grows is kept once."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.recognition.ocr.boxes import Line

#: Least share of equal characters for two lines to be readings of one.
SIMILARITY = 0.85
#: Frames back in which a line is looked for: a reader may miss it once.
_WINDOW = 2
_MAX_COMPARED = 100  # characters
_MAX_LINES = 100  # of one frame
_SHORTEST_GROWING = 2


@dataclass(slots=True)
class _Kept:
    """A line of the result, what it is compared by, and the last frame that showed it."""

    line: Line
    key: str
    seen: int


def merge_frames(frames: Iterable[Sequence[Line]]) -> list[Line]:
    """Merge the lines of frames in time order.

    A line is left out when an earlier frame had the same one, or when one of the two frames before had nearly the same
    (`nearly_same`: two readings, of which the surer stays) or the same but shorter or longer (`grows`: a subtitle that
    is being written, of which the longer stays). Letters and digits count for this, and nothing else: not case, not
    width, not blanks, not marks. The lines of one frame are never merged with each other unless they are equal.

    Returns:
        Lines as they were read, in the order in which they first appeared. Lines without a letter or digit are
        dropped, and what a frame has beyond 100 lines. Merging a result again changes nothing.
    """
    kept: list[_Kept] = []
    by_key: dict[str, _Kept] = {}
    for number, lines in enumerate(frames):
        for line in lines[:_MAX_LINES]:
            key = compared(line.text)
            if not key:
                continue
            found = by_key.get(key) or _recent(kept, key, number)
            if found is None:
                found = _Kept(line, key, number)
                kept.append(found)
            elif _better(line, key, found):
                found.line, found.key = line, key
            found.seen = number
            by_key[key] = found
    return [one.line for one in kept]


def _recent(kept: Sequence[_Kept], key: str, number: int) -> _Kept | None:
    """Find the line of the last frames that this one is another reading or another state of."""
    recent = [one for one in kept if number - _WINDOW <= one.seen < number]
    return next((one for one in recent if nearly_same(one.key, key) or grows(one.key, key)), None)


def _better(line: Line, key: str, found: _Kept) -> bool:
    if grows(found.key, key) and not nearly_same(found.key, key):
        return len(key) > len(found.key)
    return line.confidence > found.line.confidence


def compared(text: str) -> str:
    """Give what lines are compared by: letters and digits alone, without case and width."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def nearly_same(first: str, second: str) -> bool:
    """Tell whether two keys are likely readings of one text: equal digits, and edit distance at most 15 %.

    Keys of up to 100 characters are compared; longer ones by their first 100 and their lengths.
    """
    if first == second:
        return True
    longest = max(len(first), len(second))
    allowed = int(round((1 - SIMILARITY) * min(longest, _MAX_COMPARED), 6))
    if abs(len(first) - len(second)) > allowed or _digits(first) != _digits(second):
        return False
    return _within(first[:_MAX_COMPARED], second[:_MAX_COMPARED], allowed)


def grows(first: str, second: str) -> bool:
    """Tell whether the shorter key is a beginning (of at least two characters) of the longer one.

    A number must not be cut: "day 1" is no beginning of "day 12".
    """
    short, long = sorted((first, second), key=len)
    if len(short) < _SHORTEST_GROWING or len(short) == len(long) or not long.startswith(short):
        return False
    return not (short[-1].isdigit() and long[len(short)].isdigit())


def _digits(key: str) -> list[str]:
    return [c for c in key if c.isdigit()]


def _within(first: str, second: str, allowed: int) -> bool:
    """Tell whether the edit distance (Levenshtein) is at most `allowed`; cost is allowed times length."""
    common = (Counter(first) & Counter(second)).total()
    if max(len(first), len(second)) - common > allowed:  # no order of these characters can be nearer
        return False
    far = allowed + 1
    before = [j if j <= allowed else far for j in range(len(second) + 1)]
    for i, character in enumerate(first, 1):
        row = [far] * (len(second) + 1)
        row[0] = min(i, far)
        for j in range(max(1, i - allowed), min(len(second), i + allowed) + 1):
            change = before[j - 1] + (character != second[j - 1])
            row[j] = min(change, before[j] + 1, row[j - 1] + 1, far)
        if min(row) == far:
            return False
        before = row
    return before[-1] <= allowed
