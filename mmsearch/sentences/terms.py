"""Terms: the words that sentences and titles are compared by."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from mmsearch.extras import require

#: How Chinese becomes words. `auto` takes jieba where it is installed.
Segmenter = Literal["auto", "jieba", "bigrams"]

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々〇"
_RUN = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+(?:['’][^\W_{_HAN}]+)*")
_IS_HAN = re.compile(rf"[{_HAN}]")
_LONGEST_WORD = 64
_CHUNK = 4096


def resolve_segmenter(segmenter: Segmenter) -> Literal["jieba", "bigrams"]:
    """Give the segmenter that `auto` stands for here; others come back as they are."""
    if segmenter == "auto":
        return "jieba" if importlib.util.find_spec("jieba") else "bigrams"
    return segmenter


def terms_of(text: str, segmenter: Segmenter = "auto") -> list[str]:
    """Give the terms of a text in order, with repetitions.

    The text is folded (NFKC, case). Chinese becomes the words of jieba (its dictionary alone, no guessing of unknown
    words), or with `bigrams` every two neighbouring characters; a run of one character is one term. Everything else
    becomes runs of letters and digits, an apostrophe within allowed; of a longer one its first 64 characters count.

    Raises:
        MissingExtraError: `jieba` was asked for and is absent.
    """
    by_dictionary = resolve_segmenter(segmenter) == "jieba"
    found: list[str] = []
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match.group()
        if not _IS_HAN.match(run):
            found.append(run[:_LONGEST_WORD])
        elif by_dictionary:
            found += [word for chunk in _chunks(run) for word in _jieba().cut(chunk, HMM=False)]
        else:
            found += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
    return found


def _chunks(run: str) -> Iterator[str]:
    """Bound what jieba sees at once: it builds a graph over the whole run."""
    return (run[i : i + _CHUNK] for i in range(0, len(run), _CHUNK))


@lru_cache(maxsize=1)
def _jieba() -> Any:
    """Load jieba's dictionary from the package itself.

    Its own start-up unmarshals a file with a known name in the system's temporary folder, which anybody may
    have put there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes, pkg_resources
        jieba = require("jieba", extra="text")
    tokenizer = jieba.Tokenizer()
    with tokenizer.get_dict_file() as dictionary:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(dictionary)
    tokenizer.initialized = True
    return tokenizer
