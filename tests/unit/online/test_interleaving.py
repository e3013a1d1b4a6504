"""Team drafts and balanced interleaving: by hand, by law, and without favour."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.online import balanced, balanced_credit, team_credit, team_draft

RANKINGS = st.permutations("abcdefgh").flatmap(lambda p: st.integers(0, 8).map(lambda n: list(p[:n])))
SEEDS = st.integers(0, 10_000)


@given(RANKINGS, RANKINGS, RANKINGS, st.integers(0, 12), SEEDS)
def test_a_draft_holds_what_the_teams_would_pick(
    a: list[str], b: list[str], c: list[str], length: int, seed: int
) -> None:
    rankings = {"a": a, "b": b, "c": c}
    drafted = team_draft(rankings, length, random.Random(seed))
    known = set(a) | set(b) | set(c)
    assert len(drafted.doc_ids) == len(set(drafted.doc_ids)) == len(drafted.teams) == min(length, len(known))
    for place, (doc_id, team) in enumerate(zip(drafted.doc_ids, drafted.teams, strict=True)):
        left = [other for other in rankings[team] if other not in drafted.doc_ids[:place]]
        assert doc_id == left[0]
    if len(a) == len(b) == len(c) == 8:
        sizes = Counter(drafted.teams)
        assert max(sizes.values(), default=0) - min((sizes[name] for name in rankings), default=0) <= 1


@given(RANKINGS, RANKINGS, st.integers(0, 12), SEEDS)
def test_every_prefix_is_balanced(a: list[str], b: list[str], length: int, seed: int) -> None:
    """A prefix is the best k of one ranking and the best k or k - 1 of the other, until one of them ends."""
    found = balanced(a, b, length, random.Random(seed))
    assert len(found) == len(set(found)) == min(length, len(set(a) | set(b)))
    for end in range(1, len(found) + 1):
        tops = [
            (i, j) for i in range(len(a) + 1) for j in range(len(b) + 1) if set(a[:i]) | set(b[:j]) == set(found[:end])
        ]
        assert any(abs(i - j) <= 1 or i == len(a) or j == len(b) for i, j in tops)


def test_a_draft_by_hand() -> None:
    orders = {team_draft({"x": "abc", "y": "bcd"}, 3, random.Random(seed)).doc_ids for seed in range(40)}
    assert orders == {("a", "b", "c"), ("b", "a", "c")}
    assert team_draft({"x": [], "y": "ab"}, 5, random.Random(0)).teams == ("y", "y")
    assert team_draft({}, 5, random.Random(0)).doc_ids == ()


def test_who_picks_first_is_a_fair_coin() -> None:
    first = Counter(team_draft({"x": "ab", "y": "cd"}, 2, random.Random(seed)).teams[0] for seed in range(2_000))
    assert abs(first["x"] - 1_000) < 150
    led = Counter(balanced("ab", "cd", 2, random.Random(seed))[0] for seed in range(2_000))
    assert abs(led["a"] - 1_000) < 150


def test_random_clicks_favour_nobody() -> None:
    """Where rankings are shifted copies of each other, a searcher who clicks at random must not prefer one."""
    chance = random.Random(1)
    won: Counter[str] = Counter()
    for _ in range(6_000):
        drafted = team_draft({"x": "abcd", "y": "bcda"}, 4, chance)
        won[drafted.teams[chance.randrange(4)]] += 1
    assert abs(won["x"] - 3_000) < 200


def test_credit() -> None:
    assert team_credit(("x", "y", "x"), (1, 0, 2.5)) == {"x": 3.5, "y": 0.0}
    with pytest.raises(ValueError, match="zip"):
        team_credit(("x",), ())


@pytest.mark.parametrize(
    ("clicked", "credit"),
    [
        ("", (0, 0)),
        ("a", (1, 0)),  # both best 1: a | b
        ("b", (0, 1)),
        ("ab", (1, 1)),
        ("c", (0, 1)),  # both best 2: a b | b c
        ("abc", (2, 2)),
        ("z", (0, 0)),  # in neither ranking
    ],
)
def test_balanced_credit_by_hand(clicked: str, credit: tuple[int, int]) -> None:
    a, b, shown = "abcd", "bcad", "abczd"
    assert balanced_credit(a, b, shown, [float(doc_id in clicked) for doc_id in shown]) == credit
