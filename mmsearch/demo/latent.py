"""What each video really is, what each of its modalities tells, and the splits by new combinations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random

from mmsearch.demo.chance import stream
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Attribute, Language, Meaning, values
from mmsearch.types import Modality

#: The click log covers these days. Training videos are older than it, val and test videos newer.
LOG_START = datetime(2024, 9, 1, tzinfo=UTC)
LOG_DAYS = 30

_CORE = (Attribute.OBJECT, Attribute.COLOUR, Attribute.MOTION, Attribute.SCENE)
_PICTURED = (Attribute.OBJECT, Attribute.COLOUR, Attribute.SCENE)
_NAMED = (Attribute.OBJECT, Attribute.COLOUR)


class Split(StrEnum):
    """The parts of the world, in the order of their dates."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Post:
    """A video as it was put online.

    Args:
        truth: what the film really holds and says: a value for every attribute.
        shows: what each modality tells, true or not; a modality that the video lacks is absent, one that tells
            nothing is empty.
        clickbait: title and cover promise an object and a colour that the frames do not hold.
    """

    doc_id: str
    split: Split
    language: Language
    published_at: datetime
    truth: Meaning
    shows: Mapping[Modality, Meaning]
    clickbait: bool


def split_sizes(videos: int) -> dict[Split, int]:
    """Give the number of videos of each split: two thirds, one eighth, the rest."""
    train, val = videos * 2 // 3, videos // 8
    return {Split.TRAIN: train, Split.VAL: val, Split.TEST: videos - train - val}


def combinations(seed: int) -> dict[Split, list[Meaning]]:
    """Give the (object, colour, motion, scene) combinations of each split.

    For every pair of object and colour, three motions and three scenes belong to train, another motion and scene to
    val, another motion and two scenes to test, drawn anew for each pair. So no triple (object, colour, motion) or
    (object, colour, scene) is in two splits, while every pair (object, colour) is in all three.
    """
    found: dict[Split, list[Meaning]] = {split: [] for split in Split}
    for thing, colour in itertools.product(values(Attribute.OBJECT), values(Attribute.COLOUR)):
        chance = stream(seed, "combinations", thing, colour)
        motions = chance.sample(values(Attribute.MOTION), k=5)
        scenes = chance.sample(values(Attribute.SCENE), k=6)
        parts = {
            Split.TRAIN: (motions[:3], scenes[:3]),
            Split.VAL: (motions[3:4], scenes[3:4]),
            Split.TEST: (motions[4:], scenes[4:]),
        }
        for split, (some_motions, some_scenes) in parts.items():
            found[split] += [
                dict(zip(_CORE, (thing, colour, motion, scene), strict=True))
                for motion, scene in itertools.product(some_motions, some_scenes)
            ]
    return found


def make_posts(settings: WorldSettings) -> list[Post]:
    """Give all videos of the world, in the order of their dates (and hence of their splits)."""
    sizes, combos = split_sizes(settings.videos), combinations(settings.seed)
    posts: list[Post] = []
    for split in Split:
        dealt = _deal(combos[split], stream(settings.seed, "deal", split))
        dates = _dates(split, sizes[split], stream(settings.seed, "dates", split))
        posts += [_post(settings, len(posts) + n, split, date, next(dealt)) for n, date in enumerate(dates)]
    return posts


def _deal(combos: list[Meaning], chance: Random) -> Iterator[Meaning]:
    """Give all combinations in random order, again and again."""
    while True:
        yield from chance.sample(combos, k=len(combos))


def _dates(split: Split, count: int, chance: Random) -> list[datetime]:
    first_day, days = {Split.TRAIN: (-240, 239), Split.VAL: (LOG_DAYS, 10), Split.TEST: (LOG_DAYS + 10, 20)}[split]
    seconds = sorted(int(chance.random() * days * 86_400) for _ in range(count))
    return [LOG_START + timedelta(days=first_day, seconds=s) for s in seconds]


def _post(settings: WorldSettings, number: int, split: Split, date: datetime, core: Meaning) -> Post:
    chance = stream(settings.seed, "post", number)
    truth: dict[Attribute, str] = {**core}
    for attribute in (Attribute.TOPIC, Attribute.PLACE):
        truth[attribute] = chance.choice(values(attribute))
    language = Language.ZH if chance.random() < settings.chinese else Language.EN
    clickbait = chance.random() < settings.clickbait
    promise = _another(truth, _NAMED, chance) if clickbait else truth
    shows: dict[Modality, Meaning] = {
        Modality.TITLE: _title(settings, promise, clickbait, chance),
        Modality.ACCOUNT: _only(truth, (Attribute.OBJECT,)) if chance.random() < settings.themed_account else {},
        Modality.COVER: _cover(settings, promise, clickbait, chance),
        Modality.COVER_OCR: _only(promise, _NAMED) if chance.random() < settings.slogan else {},
        Modality.FRAMES: _only(truth, _CORE),
        Modality.CONTENT_OCR: _only(truth, (Attribute.PLACE,)),
        Modality.ASR: _only(
            truth,
            (Attribute.OBJECT, Attribute.TOPIC) if chance.random() < settings.spoken_object else (Attribute.TOPIC,),
        ),
    }
    return Post(f"v{number:05d}", split, language, date, truth, _lose(settings, shows, chance), clickbait)


def _title(settings: WorldSettings, promise: Meaning, clickbait: bool, chance: Random) -> Meaning:
    vague = not clickbait and chance.random() < settings.vague_title
    extra = chance.sample((Attribute.COLOUR, Attribute.MOTION, Attribute.SCENE), k=chance.choice((1, 1, 2)))
    told = {Attribute.OBJECT, *extra} | ({Attribute.COLOUR} if clickbait else set())
    told |= {Attribute.TOPIC} if chance.random() >= settings.speech_only else set()
    told |= {Attribute.PLACE} if chance.random() >= settings.screen_only else set()
    return {} if vague else _only(promise, tuple(told))


def _cover(settings: WorldSettings, promise: Meaning, clickbait: bool, chance: Random) -> Meaning:
    other = not clickbait and chance.random() < settings.other_cover
    return _only(_another(promise, _PICTURED, chance) if other else promise, _PICTURED)


def _lose(settings: WorldSettings, shows: Mapping[Modality, Meaning], chance: Random) -> dict[Modality, Meaning]:
    """Drop each modality with the probability `missing`, the text on a cover with its cover, but never all content."""
    lost = {modality for modality in shows if chance.random() < settings.missing}
    lost -= {Modality.COVER_OCR}
    if Modality.COVER in lost:
        lost |= {Modality.COVER_OCR}
    if lost >= {Modality.TITLE, Modality.COVER, Modality.FRAMES}:
        lost -= {Modality.TITLE}
    return {modality: meaning for modality, meaning in shows.items() if modality not in lost}


def _only(meaning: Meaning, wanted: tuple[Attribute, ...]) -> Meaning:
    return {attribute: value for attribute, value in meaning.items() if attribute in wanted}


def _another(meaning: Meaning, changed: tuple[Attribute, ...], chance: Random) -> Meaning:
    """Change some attributes to other values."""
    return {
        attribute: chance.choice([v for v in values(attribute) if v != value]) if attribute in changed else value
        for attribute, value in meaning.items()
    }
