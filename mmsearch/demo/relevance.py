"""What searchers want, what a video promises before the click, and how well it really serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from mmsearch.demo.chance import weighted
from mmsearch.demo.latent import Post
from mmsearch.demo.vocabulary import Attribute, Meaning
from mmsearch.types import PERCEPTION

#: The best grade.
TOP_GRADE = 3

_O, _C, _M, _S, _T, _P = Attribute

#: Which attributes are asked for together, and how often.
_KINDS: Mapping[tuple[Attribute, ...], float] = {
    (_O, _C, _M): 2,
    (_O, _C, _S): 2,
    (_O, _M, _S): 1,
    (_O, _T): 2,
    (_O, _C, _T): 2,
    (_O, _S, _T): 2,
    (_O, _M, _T): 1,
    (_O, _P): 2,
    (_O, _C, _P): 2,
    (_O, _M, _P): 2,
    (_O, _T, _P): 5,
    (_S, _T, _P): 3,
}

#: What a searcher expects of an attribute that nothing tells before the click.
_UNKNOWN = 0.3


def choose_intents(posts: Sequence[Post], count: int, taken: Sequence[Meaning], chance: Random) -> list[Meaning]:
    """Give different things to ask for, each held by at least one of the videos.

    Args:
        posts: videos to ask for.
        count: how many are wanted; a small world may not have so many, then there are fewer.
        taken: intents of other splits, which are not chosen again.
        chance: what draws them.
    """
    refused = {tuple(wanted.items()) for wanted in taken}
    found: dict[tuple[tuple[Attribute, str], ...], Meaning] = {}
    for _ in range(20 * count):
        truth, kind = chance.choice(posts).truth, weighted(chance, _KINDS)
        wanted = tuple((attribute, truth[attribute]) for attribute in kind)
        if wanted not in refused:
            found[wanted] = dict(wanted)
        if len(found) == count:
            break
    return list(found.values())


def held(wanted: Meaning, meaning: Meaning) -> int:
    """Count the wanted attributes that a meaning holds."""
    return sum(meaning.get(attribute) == value for attribute, value in wanted.items())


def grade(wanted: Meaning, truth: Meaning) -> int:
    """Grade a video by what it really is: 3 times the share of wanted attributes that hold, rounded down.

    Of three wanted attributes 3, 2, 1, 0 give the grades 3, 2, 1, 0; of two, 2, 1, 0 give 3, 1, 0.
    """
    return TOP_GRADE * held(wanted, truth) // len(wanted)


def promised(wanted: Meaning, post: Post) -> float:
    """Give how relevant a video looks before the click, from 0 to 1.

    The mean over the wanted attributes of: the share of the perceived modalities telling it that tell it as wanted,
    or 0.3 where none tells it.
    """
    told = 0.0
    for attribute, value in wanted.items():
        tells = [
            meaning[attribute] == value
            for modality in PERCEPTION
            if attribute in (meaning := post.shows.get(modality, {}))
        ]
        told += sum(tells) / len(tells) if tells else _UNKNOWN
    return told / len(wanted)
