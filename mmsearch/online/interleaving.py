"""Interleaving: one list made of the results of several rankers, and clicks credited to the rankers that they chose.

Each searcher compares the rankers himself, so that differences between searchers and queries cancel out; that is why
far fewer sessions are needed than for an A/B test (Chapelle, Joachims, Radlinski & Yue 2012, Large-scale validation and
analysis of interleaved search evaluation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Interleaved:
    """A list to show, from the top, and the ranker that each of its documents is owed to."""

    doc_ids: tuple[str, ...]
    teams: tuple[str, ...]


def team_draft(rankings: Mapping[str, Sequence[str]], length: int, chance: Random) -> Interleaved:
    """Interleave rankings as two captains pick teams.

    In every round each ranker, in an order drawn anew, adds its best document that is not in the list yet (Radlinski,
    Kurup & Joachims 2008, How does clickthrough data reflect retrieval quality?, algorithm 2; with more than two
    rankers it is team-draft multileaving, Schuth et al. 2014). A ranker without documents left is passed over.

    Args:
        rankings: documents by ranker, best first.
        length: most documents in the list.
        chance: draws the order of every round; the same for rankings of any quality, so that no ranker is favoured.

    Returns:
        At most `length` different documents; fewer when the rankers together know no more.
    """
    remaining = {name: iter(dict.fromkeys(ranking)) for name, ranking in rankings.items()}
    teams: dict[str, str] = {}
    while remaining and len(teams) < length:
        for name in chance.sample(sorted(remaining), k=len(remaining)):
            pick = next((doc_id for doc_id in remaining[name] if doc_id not in teams), None)
            if pick is None:
                del remaining[name]
            elif len(teams) < length:
                teams[pick] = name
    return Interleaved(tuple(teams), tuple(teams.values()))


def team_credit(teams: Sequence[str], gains: Sequence[float]) -> dict[str, float]:
    """Add up what was gained on the documents of every team.

    Args:
        teams: the ranker that each shown document is owed to.
        gains: what a searcher did with each of them: 1 for a click, or for a click that was followed by a long look.
    """
    credit = dict.fromkeys(teams, 0.0)
    for name, gain in zip(teams, gains, strict=True):
        credit[name] += gain
    return credit


def balanced(a: Sequence[str], b: Sequence[str], length: int, chance: Random) -> tuple[str, ...]:
    """Interleave two rankings so that every prefix of the list holds about as many of the best of each.

    Joachims 2003 (Evaluating retrieval performance using clickthrough data); Radlinski et al. 2008, algorithm 1. A coin
    decides who begins. Clicks at random do not favour a ranker by much, but can where the rankings are shifted copies
    of each other; `team_draft` has no such weakness.

    Returns:
        At most `length` different documents.
    """
    lists = (list(dict.fromkeys(a)), list(dict.fromkeys(b)))
    reached, leader = [0, 0], chance.randrange(2)
    found: dict[str, None] = {}
    while len(found) < length and (reached[0] < len(lists[0]) or reached[1] < len(lists[1])):
        other = 1 - leader
        turn = leader if reached[leader] <= reached[other] else other
        turn = turn if reached[turn] < len(lists[turn]) else 1 - turn
        found[lists[turn][reached[turn]]] = None
        reached[turn] += 1
    return tuple(found)


def balanced_credit(
    a: Sequence[str], b: Sequence[str], shown: Sequence[str], gains: Sequence[float]
) -> tuple[float, float]:
    """Credit the clicks on a list that `balanced` made to its two rankings.

    Compared are the best k of each ranking, where k is the least number that both rankings need so that the lowest
    clicked document is among the best k of one of them: what lies below was not looked at. A click counts for every
    ranking that has the document there.

    Args:
        a: documents of one ranker, best first.
        b: documents of the other.
        shown: the list, from the top; documents that neither ranking holds are left out.
        gains: what a searcher did with each shown document, 0 for nothing.

    Returns:
        Credit of `a` and of `b`.
    """
    known = {*a, *b}
    gained = {doc_id: gain for doc_id, gain in zip(shown, gains, strict=True) if gain != 0 and doc_id in known}
    if not gained:
        return 0.0, 0.0
    lowest = list(gained)[-1]
    depth = min(list(ranking).index(lowest) + 1 for ranking in (a, b) if lowest in ranking)
    of_a, of_b = (sum(gained.get(doc_id, 0.0) for doc_id in dict.fromkeys(ranking[:depth])) for ranking in (a, b))
    return of_a, of_b
