"""What recognisers make of speech and drawn text: dropped, doubled and confused characters and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from mmsearch.demo.vocabulary import Language

#: Words and characters, each with one that sounds alike.
MISHEARD: Mapping[str, str] = {
    **dict(zip("球鱼画修歌钱历史笑伞筝箭杯器价音古的", "求于话休哥前力是校散争件背气架因鼓得", strict=True)),
    "ball": "bowl",
    "car": "card",
    "cup": "cop",
    "draw": "drawer",
    "fix": "fixed",
    "history": "his story",
    "joke": "yoke",
    "kite": "kit",
    "price": "prize",
    "rocket": "racket",
    "song": "son",
}

#: Characters, each with one that looks alike.
CONFUSED: Mapping[str, str] = dict(zip("OoIliSBgnh京上西广大看我未鱼", "0011l589rb亰土酉厂太着找末渔", strict=True))


def transcribe(sentences: Sequence[str], language: Language, rate: float, chance: Random) -> str:
    """Give a transcript: each word (Chinese: character) is dropped, doubled or misheard with probability `rate`."""
    gap, stop = ("", "。") if language is Language.ZH else (" ", ". ")
    heard = []
    for sentence in sentences:
        units = list(sentence) if language is Language.ZH else sentence.split()
        heard.append(gap.join(_hear(unit, rate, chance) for unit in units).strip())
    return " ".join(stop.join([*heard, ""]).split())


def recognise(text: str, rate: float, chance: Random) -> str:
    """Give drawn text as read by OCR: each character is dropped or confused with probability `rate`."""
    return " ".join("".join(_read(character, rate, chance) for character in text).split())


def _hear(unit: str, rate: float, chance: Random) -> str:
    if chance.random() >= rate:
        return unit
    return chance.choice(("", unit + unit if len(unit) == 1 else f"{unit} {unit}", MISHEARD.get(unit, unit)))


def _read(character: str, rate: float, chance: Random) -> str:
    if chance.random() >= rate:
        return character
    return CONFUSED.get(character, "")
