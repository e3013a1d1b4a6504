"""The grammar, the noise of recognisers, and the font that draws the words."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from mmsearch.demo import phrases
from mmsearch.demo.lettering import FONT
from mmsearch.demo.noise import CONFUSED, MISHEARD, recognise, transcribe
from mmsearch.demo.phrases import TOPIC_TALK
from mmsearch.demo.vocabulary import VOCABULARY, Attribute, Language, Meaning, values, words
from mmsearch.demo.wording import phrase, slogan, speech, title

meanings = st.dictionaries(st.sampled_from(list(Attribute)), st.integers(0, 4), min_size=1).map(
    lambda picks: {attribute: values(attribute)[n] for attribute, n in picks.items()}
)
languages = st.sampled_from(list(Language))


@given(meanings, languages, st.integers(0, 50))
def test_a_phrase_says_each_attribute_once_and_nothing_else(meaning: Meaning, language: Language, seed: int) -> None:
    said = phrase(meaning, language, Random(seed))
    assert "{" not in said
    assert "  " not in said
    for attribute, value in meaning.items():
        forms = [form.replace("{}", "") for form in words(attribute, value, language)]
        assert any(form.strip() in said for form in forms), (said, value)


def test_words_of_different_values_differ() -> None:
    for language in Language:
        every = [word for table in VOCABULARY.values() for entry in table.values() for word in entry.of(language)]
        assert not [word for word, count in Counter(every).items() if count > 1]


@given(meanings, meanings, languages, st.integers(0, 20))
def test_different_meanings_are_said_differently(one: Meaning, other: Meaning, language: Language, seed: int) -> None:
    if one != other:
        assert phrase(one, language, Random(seed)) != phrase(other, language, Random(seed + 1))


def test_an_empty_title_is_vague_and_an_empty_slogan_is_hype() -> None:
    assert title({}, Language.EN, Random(0), bait=False) in phrases.VAGUE_TITLES[Language.EN]
    assert slogan({}, Language.ZH, Random(0)) in phrases.HYPE[Language.ZH]


@pytest.mark.parametrize(("language", "topic"), list(itertools.product(Language, values(Attribute.TOPIC))))
def test_speech_names_its_topic(language: Language, topic: str) -> None:
    spoken = speech({Attribute.TOPIC: topic}, language, Random(3))
    assert set(spoken) & set(TOPIC_TALK[topic][language])


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Z", "C"]), min_size=1), min_size=1))
def test_a_perfect_recogniser_changes_nothing(tokens: list[str]) -> None:
    assert transcribe([" ".join(tokens)], Language.EN, 0.0, Random(0)) == " ".join(tokens) + "."
    assert recognise(" ".join(tokens), 0.0, Random(0)) == " ".join(tokens)


def test_noise_hits_about_its_share_of_the_characters() -> None:
    text = "关注我" * 2000
    heard = recognise(text, 0.1, Random(1))
    kept = sum(character in "关注" for character in heard) / (len(text) * 2 / 3)
    assert kept == pytest.approx(0.9, abs=0.015)
    assert heard.count("找") / 2000 == pytest.approx(0.1, abs=0.02)


def test_misheard_words_come_from_the_table() -> None:
    sentence = ["fix the song " * 300]
    heard = Counter(transcribe(sentence, Language.EN, 0.3, Random(2)).replace(".", "").split())
    assert set(heard) == {"fix", "the", "song", "fixed", "son"}
    assert heard["fixed"] == pytest.approx(30, abs=15)


def test_the_vocabulary_is_small() -> None:
    lines = [text for table in VOCABULARY.values() for entry in table.values() for text in (*entry.zh, *entry.en)]
    for table in (*phrase_tables(), *TOPIC_TALK.values()):
        lines += [text for language in Language for text in table[language]]
    english = {word for text in lines for word in re.findall("[a-z]+", text.lower())}
    chinese = {character for text in lines for character in text if character > "\u2e80"}
    assert len(english) <= 150
    assert len(chinese) <= 230


def test_the_font_draws_every_character_of_the_world() -> None:
    lines = [text for table in VOCABULARY.values() for entry in table.values() for text in (*entry.zh, *entry.en)]
    for table in (*phrase_tables(), *TOPIC_TALK.values()):
        lines += [text for language in Language for text in table[language]]
    wanted = {c for text in lines for c in text} | set(MISHEARD) | set(CONFUSED) | {chr(c) for c in range(33, 127)}
    font = ImageFont.truetype(str(FONT), 40, layout_engine=ImageFont.Layout.BASIC)
    absent = bytes(font.getmask("\U0001f600"))
    tofu = [c for c in sorted("".join(wanted)) if c != " " and bytes(font.getmask(c)) == absent]
    assert tofu == []
    assert FONT.stat().st_size < 100_000
    assert "SIL OPEN FONT LICENSE" in (FONT.parent / "OFL.txt").read_text(encoding="utf-8")


def phrase_tables() -> list[phrases.Lines]:
    found = [getattr(phrases, name) for name in dir(phrases) if name.isupper()]
    return [table for table in found if set(table) == set(Language) and isinstance(table[Language.EN], tuple)]
