"""The judges: they see the whole video and grade what it really is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from mmsearch.demo.chance import stream
from mmsearch.demo.latent import Post
from mmsearch.demo.relevance import grade, held, promised
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Attribute, Language, Meaning
from mmsearch.demo.wording import phrase
from mmsearch.types import Judgment

#: Share of a judged list for the videos that promise most in vain.
_BAIT = 0.15


def judge(settings: WorldSettings, posts: Sequence[Post], intents: Sequence[Meaning], part: str) -> Iterator[Judgment]:
    """Grade a list of videos for each intent, said in one way.

    A list holds the videos that promise most in vain, and then, in turn, one of each group of videos that hold the
    same of the wanted attributes (all, all but the colour, ..., none), so that no attribute alone tells the grades.
    See `relevance.grade` for the rule.

    Args:
        settings: the world's.
        posts: the videos of one split.
        intents: what is asked for.
        part: name of the split, which keeps its chance apart.
    """
    for number, wanted in enumerate(intents):
        chance = stream(settings.seed, "judge", part, number)
        language = Language.ZH if chance.random() < settings.chinese else Language.EN
        query = phrase(wanted, language, chance)
        shuffled = chance.sample(posts, k=len(posts))
        for post in sorted(_pick(settings.judged_per_query, shuffled, wanted), key=lambda post: post.doc_id):
            yield Judgment(query, post.doc_id, grade(wanted, post.truth))


def _pick(count: int, posts: Sequence[Post], wanted: Meaning) -> list[Post]:
    groups: dict[frozenset[Attribute], list[Post]] = {}
    for post in posts:
        holds = frozenset(attribute for attribute, value in wanted.items() if post.truth[attribute] == value)
        groups.setdefault(holds, []).append(post)
    bait = sorted(posts, key=lambda post: held(wanted, post.truth) / len(wanted) - promised(wanted, post))
    in_turn = [post for turn in zip_longest(*groups.values()) for post in turn if post is not None]
    picked = {post.doc_id: post for post in bait[: round(_BAIT * count)]}
    for post in in_turn:
        if len(picked) < count:
            picked.setdefault(post.doc_id, post)
    return list(picked.values())
