"""Interleaving and A/B tests as experiments: right on average, as sure as they say, and of one mind with the judges."""

import math
import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from mmsearch.demo.latent import Post, make_posts
from mmsearch.demo.listing import list_post
from mmsearch.demo.relevance import choose_intents, held, promised
from mmsearch.demo.searcher import look_through
from mmsearch.demo.settings import WorldSettings
from mmsearch.metrics.statistic import mean_of
from mmsearch.online import (
    LongClicks,
    by_session,
    compare_arms,
    credits_by_team,
    cuped,
    gain_per_session,
    prefer,
    split_arms,
    team_draft,
)
from mmsearch.types import Interaction

NOISE = {"new": 0.08, "old": 0.2}
SESSIONS = 1_200


class Bed:
    """Simulated searchers of a small demo world, and two rankers of different noise."""

    def __init__(self) -> None:
        self.settings = WorldSettings(videos=150)
        self.posts: dict[str, Post] = {post.doc_id: post for post in make_posts(self.settings)}
        self.seconds = {d: list_post(self.settings, post).video.duration_s or 0.0 for d, post in self.posts.items()}
        self.intents = choose_intents(list(self.posts.values()), 60, [], random.Random(1))
        self.lists = {name: [self._list(name, n) for n in range(len(self.intents))] for name in NOISE}

    def _list(self, ranker: str, number: int) -> list[str]:
        wanted, chance = self.intents[number], random.Random(f"{ranker} {number}")
        scores = {
            d: promised(wanted, p) / 2 + held(wanted, p.truth) / len(wanted) / 2 + chance.gauss(0.0, NOISE[ranker])
            for d, p in self.posts.items()
        }
        return sorted(scores, key=scores.__getitem__, reverse=True)[:10]

    def log(self, seed: int, shown: Callable[[str, int, random.Random], Sequence[str]]) -> Iterator[Interaction]:
        for i in range(SESSIONS):
            chance = random.Random(f"{seed} {i}")
            intent = chance.randrange(len(self.intents))
            doc_ids = shown(f"s{i}", intent, chance)
            posts = [self.posts[doc_id] for doc_id in doc_ids]
            looks = look_through(self.settings, self.intents[intent], posts, self.seconds, chance)
            for place, (doc_id, (clicked, watch_s)) in enumerate(zip(doc_ids, looks, strict=True), start=1):
                yield Interaction(f"q{intent}", doc_id, None, place, clicked, watch_s, f"s{i}")


@pytest.fixture(scope="module")
def bed() -> Bed:
    return Bed()


def test_interleaving_finds_the_better_ranker_in_fewer_sessions(bed: Bed) -> None:
    gain = LongClicks(bed.seconds)
    teams: dict[tuple[str, str, str], str] = {}
    arms: dict[str, str] = {}

    def drafted(session: str, intent: int, chance: random.Random) -> Sequence[str]:
        made = team_draft({name: lists[intent] for name, lists in bed.lists.items()}, 10, chance)
        teams.update({(session, f"q{intent}", d): team for d, team in zip(made.doc_ids, made.teams, strict=True)})
        return made.doc_ids

    def one_arm(session: str, intent: int, chance: random.Random) -> Sequence[str]:
        arms[session] = chance.choice(list(NOISE))
        return bed.lists[arms[session]][intent]

    credit = credits_by_team(by_session(bed.log(1, drafted)), teams, list(NOISE), gain)
    preferred = prefer("new", "old", credit[:, 0], credit[:, 1])
    assert preferred.preference > 0
    assert preferred.p_value < 0.01
    assert preferred.interval.low > 0
    split = split_arms(by_session(bed.log(2, one_arm)), arms)
    tested = compare_arms(*(gain_per_session("long", split[name], gain) for name in NOISE))
    assert tested.difference > 0
    assert tested.p_value < 0.05
    assert preferred.sessions_needed < tested.sessions_needed


def test_equal_rankers_are_told_apart_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    found, arms = [], []
    for trial in range(150):
        a, b = rng.poisson(0.8, (2, 200)).astype(float)
        found.append(prefer("a", "b", a, b, resamples=40, seed=trial).p_value)
        arms.append(
            compare_arms(mean_of("x", a), mean_of("x", b[:120]), resamples=2, permutations=300, seed=trial).p_value
        )
    for p_values in (np.array(found), np.array(arms)):
        assert np.mean(p_values <= 0.05) <= 0.10
        assert np.mean(p_values) == pytest.approx(0.5, abs=0.08)


def test_the_interval_of_two_arms_is_that_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1.0, 0.5, 900), rng.normal(0.9, 1.0, 400)
    found = compare_arms(mean_of("watch", a), mean_of("watch", b), resamples=4_000)
    spread = math.sqrt(a.var() / len(a) + b.var() / len(b))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.interval.low == pytest.approx(found.difference - 1.96 * spread, abs=0.01)
    assert found.interval.high == pytest.approx(found.difference + 1.96 * spread, abs=0.01)
    assert found.detectable == pytest.approx(2.8016 * spread, rel=0.05)
    assert found.num_sessions == (900, 400)
    assert found.sessions_needed == pytest.approx(1_300 * (found.detectable / found.difference) ** 2)
    assert math.isinf(compare_arms(mean_of("x", a), mean_of("x", a), permutations=10).sessions_needed)


def test_cuped_keeps_the_mean_and_takes_the_known_part_of_the_variance() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(5.0, 2.0, 5_000)
    values = 3.0 + 0.5 * before + rng.normal(0.0, 1.0, 5_000)
    adjusted = cuped(values, before)
    assert adjusted.mean() == pytest.approx(values.mean())
    correlation = np.corrcoef(values, before)[0, 1]
    assert adjusted.var() == pytest.approx(values.var() * (1 - correlation**2))
    assert cuped(values, np.ones(5_000)).tolist() == values.tolist()
    with pytest.raises(ValueError, match="5000 values and 1 of the covariate"):
        cuped(values, before[:1])


def test_experiments_without_sessions_are_refused() -> None:
    with pytest.raises(ValueError, match="an arm has no session"):
        compare_arms(mean_of("x", np.ones(3)), mean_of("x", np.ones(0)))
    with pytest.raises(ValueError, match="credit of 0 and 0 sessions"):
        prefer("a", "b", np.ones(0), np.ones(0))
    assert math.isinf(prefer("a", "b", np.zeros(5), np.zeros(5), resamples=5).sessions_needed)
