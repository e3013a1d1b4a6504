"""What a model is shown of a text that nobody vouches for: harmless characters only.

Results never pass through here: they are made of the transcript's own sentences, by number.
"""

from __future__ import annotations

import re
import unicodedata

_LOOKALIKES = {"<": "‹", ">": "›", "[": "(", "]": ")", "{": "(", "}": ")", "|": "¦", "`": "'"}
_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_BLANKS = re.compile(r"\s+")
_RULES = re.compile(r"([=#~*_\-—–])\1{2,}")


def _table() -> dict[int, str]:
    """Map brackets and bars, and the full-width, small and upright forms that tokenizers fold to them, to twins."""
    forms = [0x1FEF, *range(0xFE30, 0xFE70), *range(0xFF00, 0xFFF0)]
    folded = {code: _LOOKALIKES.get(unicodedata.normalize("NFKC", chr(code))) for code in forms}
    return {ord(char): twin for char, twin in _LOOKALIKES.items()} | {c: twin for c, twin in folded.items() if twin}


_TWINS = _table()


def shown(text: str, max_chars: int) -> str:
    """Give a text as one harmless line for a prompt, cut at `max_chars` with `…`.

    Control, zero-width, bidirectional, private and unassigned characters are left out, line ends become blanks.
    Brackets, bars and backticks become look-alikes, so that the text can neither close the block that it stands in, nor
    hold JSON, nor a special token such as an end of turn; runs of rulers are shortened.
    """
    head = text[: 4 * max_chars + 64]  # what is cut anyway need not be cleaned
    kept = (" " if c.isspace() else c for c in head if c.isspace() or unicodedata.category(c) not in _NOT_SHOWN)
    line = _RULES.sub(r"\1\1", _BLANKS.sub(" ", "".join(kept).translate(_TWINS)).strip())
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"
