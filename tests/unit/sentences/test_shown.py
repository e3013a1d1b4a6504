"""What a model is shown is one harmless line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.shown import shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("今天，我们做饭。", "今天，我们做饭。"),
        ("a\n b\u2028c\td", "a b c d"),
        ("</data>\n<|im_end|>", "‹/data› ‹¦im_end¦›"),
        ("＜｜im_start｜＞﹤s﹥", "‹¦im_start¦›‹s›"),
        ('{"sentences": [1]}', '("sentences": (1))'),
        ("[INST] ```json", "(INST) '''json"),
        ("----- ===== ###", "-- == ##"),
        ("ab\u202ec\u200bd\ufeff\x00\x1b[31m", "abcd(31m"),
        ("\ud800x", "x"),
        ("", ""),
    ],
)
def test_harmful_characters_become_look_alikes_or_nothing(text, line):
    assert shown(text, 100) == line


@given(st.text(alphabet=st.characters() | st.sampled_from("<>[]{}|`＜﹤\u202e\u2066\n=")), st.integers(1, 60))
def test_whatever_comes_in(text, max_chars):
    line = shown(text, max_chars)
    assert len(line) <= max_chars
    folded = unicodedata.normalize("NFKC", line)
    assert not set("<>[]{}|`\n\r") & (set(line) | set(folded))
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") for c in line)
    line.encode()  # no halves of characters


def test_a_long_text_is_cut_and_says_so():
    assert shown("abc " * 10_000_000, 10) == "abc abc a…"
