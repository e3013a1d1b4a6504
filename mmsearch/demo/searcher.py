"""The simulated searchers: they look from the top, click what a video promises, and watch what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from mmsearch.demo.chance import stream
from mmsearch.demo.latent import LOG_DAYS, LOG_START, Post
from mmsearch.demo.relevance import held, promised
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Language, Meaning
from mmsearch.demo.wording import phrase
from mmsearch.types import Interaction

#: The old ranker, whose results are shown, picks from so many videos.
_CANDIDATES = 400
#: Probability of clicking a looked-at video that promises everything.
_EAGER = 0.9
#: How much watch times of equal videos agree.
_AGREEMENT = 8.0


@dataclass(frozen=True, slots=True)
class _Search:
    session_id: str
    shown_at: datetime
    wanted: Meaning
    query: str


def click_log(
    settings: WorldSettings, posts: Sequence[Post], intents: Sequence[Meaning], seconds: Mapping[str, float]
) -> Iterator[Interaction]:
    """Give the click log: every shown video, clicked or not, session by session, from the top.

    Position-based model: P(click) = P(look at position) * P(click | promise), with P(look at k) = k ** -position_bias
    and P(click | promise) rising with the square of the promise. The mean share that is watched rises with the share
    of the wanted attributes that truly hold, so that clickbait is clicked and left.

    Args:
        settings: the world's.
        posts: the videos that can be shown.
        intents: what is searched for; the first ones more often (weight rank ** -0.7).
        seconds: duration of each video by its id.
    """
    for search in _searches(settings, intents):
        chance = stream(settings.seed, "results", search.session_id)
        results = _results(settings, posts, search.wanted, chance)
        looks = look_through(settings, search.wanted, results, seconds, chance)
        for position, (post, (clicked, watch_s)) in enumerate(zip(results, looks, strict=True), start=1):
            yield Interaction(search.query, post.doc_id, search.shown_at, position, clicked, watch_s, search.session_id)


def look_through(
    settings: WorldSettings, wanted: Meaning, results: Sequence[Post], seconds: Mapping[str, float], chance: Random
) -> Iterator[tuple[bool, float | None]]:
    """Give what a searcher does with each result, from the top: clicked or not, and the seconds watched after a click.

    Args:
        settings: the world's.
        wanted: what is searched for.
        results: the list that is shown.
        seconds: duration of each video by its id.
        chance: the searcher's.
    """
    for position, post in enumerate(results, start=1):
        clicked = chance.random() < _click_probability(settings, wanted, post, position)
        yield clicked, _watch(wanted, post, seconds[post.doc_id], chance) if clicked else None


def _searches(settings: WorldSettings, intents: Sequence[Meaning]) -> Iterator[_Search]:
    chance = stream(settings.seed, "searches")
    moments = sorted(int(chance.random() * LOG_DAYS * 86_400) for _ in range(settings.sessions))
    popularity = [(rank + 1) ** -0.7 for rank in range(len(intents))]
    for number, moment in enumerate(moments):
        wanted = chance.choices(intents, popularity)[0]
        language = Language.ZH if chance.random() < settings.chinese else Language.EN
        query = phrase(wanted, language, chance)
        yield _Search(f"s{number:05d}", LOG_START + timedelta(seconds=moment), wanted, query)


def _results(settings: WorldSettings, posts: Sequence[Post], wanted: Meaning, chance: Random) -> list[Post]:
    """Rank as a middling engine would: promise and truth count alike, and chance as much."""
    candidates = chance.sample(posts, k=min(len(posts), _CANDIDATES))
    scores = [
        promised(wanted, post) + held(wanted, post.truth) / len(wanted) + chance.gauss(0.0, 0.4) for post in candidates
    ]
    order = sorted(range(len(candidates)), key=lambda n: -scores[n])
    return [candidates[n] for n in order[: settings.results]]


def _click_probability(settings: WorldSettings, wanted: Meaning, post: Post, position: int) -> float:
    looked = float(position**-settings.position_bias)
    careless = settings.careless_clicks
    return looked * (careless + max(0.0, _EAGER - careless) * promised(wanted, post) ** 2)


def _watch(wanted: Meaning, post: Post, duration_s: float, chance: Random) -> float:
    """Give the seconds watched: a beta-distributed share of the duration with a mean of 0.08 (nothing holds) to 0.9."""
    mean = 0.08 + 0.82 * (held(wanted, post.truth) / len(wanted)) ** 1.5
    share = chance.betavariate(mean * _AGREEMENT, (1 - mean) * _AGREEMENT)
    return round(max(0.1, share * duration_s), 1)
