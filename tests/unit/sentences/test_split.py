"""Sentences are substrings in order, cut where speech ends or pauses."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.split import split_sentences

ALPHABET = st.sampled_from(
    [*'aB1 .。！?!…,，、;\n\r\t\u2028"”’)》」e\u0301\u200d👩🏽\u202e<|{}一二三', "Dr", "3.14", "..."]
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("今天讲向量。什么是向量？它是箭头！", ["今天讲向量。", "什么是向量？", "它是箭头！"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("It is 3.14, says Dr. Smith. Is it? Yes!", ["It is 3.14, says Dr. Smith.", "Is it?", "Yes!"]),
        ("We met J. R. Smith at 5 p.m. sharp. So I. Then.", ["We met J. R. Smith at 5 p.m. sharp.", "So I.", "Then."]),
        ('He said "go." And left...  Then?', ['He said "go."', "And left...", "Then?"]),
        ("1. Mix the eggs. 2. Bake.", ["1. Mix the eggs.", "2. Bake."]),
        ("see mmsearch.org or a.b.c today", ["see mmsearch.org or a.b.c today"]),
        ("你好……我们开始吧", ["你好……", "我们开始吧"]),
        (
            "so today we cook\nfirst the eggs\n\nthen the flour",
            ["so today we cook", "first the eggs", "then the flour"],
        ),
        ("We look at a\nsimple question. What is it?", ["We look at a\nsimple question.", "What is it?"]),
        ("首先，\n打鸡蛋。\n然后烤。", ["首先，\n打鸡蛋。", "然后烤。"]),
        ("", []),
        (" \n\t \r\n", []),
        ("... ！！！ —— ？", []),
    ],
)
def test_sentences_of_real_texts(text, sentences):
    assert split_sentences(text) == sentences


def test_speech_without_any_mark_is_cut_at_blanks_into_like_parts():
    words = "so today we are going to cook a very simple dish with eggs and flour and some butter " * 4
    parts = split_sentences(words, max_chars=60)
    assert all(30 <= len(part) <= 60 for part in parts)
    assert " ".join(parts) == words.strip()


def test_chinese_without_any_mark_is_cut_between_characters_and_at_commas_where_there_are_some():
    bare = "今天我们来学习线性代数里面的向量空间" * 10
    assert "".join(split_sentences(bare, 50)) == bare
    commas = "今天我们来学习线性代数里面的向量空间，" * 10
    assert all(part.endswith("，") for part in split_sentences(commas, 50))


def test_what_one_sees_as_one_character_stays_whole():
    for character in ("e\u0301", "👩🏽", "👩\u200d🔬"):
        parts = split_sentences("x" + character * 40, max_chars=10)
        assert all(part.removeprefix("x").replace(character, "") == "" for part in parts), character


@given(st.lists(ALPHABET, max_size=200).map("".join), st.integers(8, 40))
def test_sentences_are_substrings_in_order_that_do_not_overlap_and_lose_no_letter(text, max_chars):
    at = 0
    between = []
    for piece in split_sentences(text, max_chars):
        assert 1 <= len(piece) <= max_chars
        assert piece == piece.strip()
        found = text.find(piece, at)
        assert found >= at
        between.append(text[at:found])
        at = found + len(piece)
    assert not any(character.isalnum() for character in "".join(between) + text[at:])


@pytest.mark.parametrize(
    "unit", [".", "…”", "a.", ". ", "!)", "。\n", "a ", "一", "\n", "e\u0301", "Dr. ", "，", ")", "\u200d"]
)
def test_time_is_linear_whatever_repeats(unit):
    def seconds(size):
        text = unit * (size // len(unit))
        began = time.process_time()
        split_sentences(text)
        return time.process_time() - began

    small, large = seconds(1 << 14), seconds(1 << 18)
    assert large < 16 * 3 * max(small, 0.02)  # quadratic would be 256 times


def test_a_bound_too_small_is_refused():
    with pytest.raises(ValueError, match="8 or more"):
        split_sentences("text", 7)
