"""How a meaning is said: a small grammar of Chinese and English with synonyms."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from mmsearch.demo.phrases import (
    BAIT_TITLES,
    HYPE,
    OBJECT_TALK,
    PLACE_CAPTIONS,
    PLAIN_ACCOUNTS,
    PLAIN_CAPTIONS,
    SMALL_TALK,
    SOMETHING,
    THEMED_ACCOUNTS,
    TITLES,
    TOPIC_TALK,
    VAGUE_TITLES,
)
from mmsearch.demo.vocabulary import Attribute, Language, Meaning, words

#: How often the usual word is taken and not a synonym.
_USUAL = 0.6


def phrase(meaning: Meaning, language: Language, chance: Random) -> str:
    """Say a meaning, such as "red ball bouncing on the beach" or "沙滩上弹跳的红色皮球"."""
    said = {attribute: _word(attribute, value, language, chance) for attribute, value in meaning.items()}
    topic = said.pop(Attribute.TOPIC, "{}")
    place = said.pop(Attribute.PLACE, "")
    if language is Language.ZH:
        return place + topic.format(_chinese(said, plain=topic != "{}", chance=chance))
    return topic.format(_english(said, chance)) + (f" in {place}" if place else "")


def title(meaning: Meaning, language: Language, chance: Random, *, bait: bool) -> str:
    """Say what a title tells; an empty meaning gives a vague one."""
    if not meaning:
        return chance.choice(VAGUE_TITLES[language])
    forms = BAIT_TITLES if bait else TITLES
    return chance.choice(forms[language]).format(phrase(meaning, language, chance))


def slogan(meaning: Meaning, language: Language, chance: Random) -> str:
    """Give the text that is drawn on a cover; an empty meaning gives hype."""
    if not meaning:
        return chance.choice(HYPE[language])
    return phrase(meaning, language, chance).upper()


def account(meaning: Meaning, language: Language, chance: Random) -> str:
    """Give an account's name."""
    if not meaning:
        return chance.choice(PLAIN_ACCOUNTS[language])
    return chance.choice(THEMED_ACCOUNTS[language]).format(phrase(meaning, language, chance))


def captions(meaning: Meaning, language: Language, chance: Random) -> tuple[str, str]:
    """Give the two texts that are drawn into a film; the first names what is to be told."""
    plain = chance.choice(PLAIN_CAPTIONS[language])
    if not meaning:
        return plain, plain
    place = _word(Attribute.PLACE, meaning[Attribute.PLACE], language, chance)
    return chance.choice(PLACE_CAPTIONS[language]).format(place), plain


def speech(meaning: Meaning, language: Language, chance: Random) -> list[str]:
    """Give the sentences that are spoken in a film."""
    hello, *talk = chance.sample(SMALL_TALK[language], k=chance.choice((2, 3)))
    topic = TOPIC_TALK[meaning[Attribute.TOPIC]][language]
    talk += chance.sample(topic, k=chance.choice((1, 2)))
    if Attribute.OBJECT in meaning:
        name = _word(Attribute.OBJECT, meaning[Attribute.OBJECT], language, chance)
        talk.append(chance.choice(OBJECT_TALK[language]).format(name))
    return [hello, *chance.sample(talk, k=len(talk))]


def _word(attribute: Attribute, value: str, language: Language, chance: Random) -> str:
    usual, *others = words(attribute, value, language)
    return chance.choice(others) if others and chance.random() >= _USUAL else usual


def _chinese(said: Mapping[Attribute, str], *, plain: bool, chance: Random) -> str:
    scene, motion = said.get(Attribute.SCENE, ""), said.get(Attribute.MOTION, "")
    thing = said.get(Attribute.COLOUR, "") + said.get(Attribute.OBJECT, "")
    if Attribute.OBJECT not in said:
        thing += ("的" if thing else "") + SOMETHING[Language.ZH]
    if motion and not plain and chance.random() < 0.5:
        return f"{thing}在{scene}{motion}" if scene else f"{motion}的{thing}"
    return f"{scene}{motion}的{thing}" if scene or motion else thing


def _english(said: Mapping[Attribute, str], chance: Random) -> str:
    motion = said.get(Attribute.MOTION, "")
    parts = [said.get(Attribute.COLOUR, ""), said.get(Attribute.OBJECT, SOMETHING[Language.EN])]
    parts = [motion, *parts] if chance.random() < 0.5 else [*parts, motion]
    return " ".join(part for part in (*parts, said.get(Attribute.SCENE, "")) if part)
