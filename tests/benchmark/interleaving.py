"""How many sessions tell two rankers apart: interleaving, A/B tests and offline PNR, on the demo's simulated searchers.

    python tests/benchmark/interleaving.py [--sessions 20000]

Two rankers order the same videos by promise and truth with noise; the new one has less of it. Three kinds of searchers
look at team drafts of both lists, and others of their kind at one list or the other: those of the demo world, who judge
every video by itself; the same, but they leave after a long look; and patient ones, who look further down before they
leave. What is shown is the number of sessions (judged queries, for PNR) that would show the difference found here with
power 0.8 at a level of 0.05; inf where the new ranker is no better by that measure. Everything is simulated: the
figures compare methods, and say nothing about real traffic. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table as Printed

from mmsearch.demo.judges import judge
from mmsearch.demo.latent import Post, make_posts
from mmsearch.demo.listing import list_post
from mmsearch.demo.relevance import choose_intents, held, promised
from mmsearch.demo.searcher import look_through
from mmsearch.demo.settings import WorldSettings
from mmsearch.metrics import Scored, Table, contrast, evaluate
from mmsearch.online import (
    LongClicks,
    by_session,
    clicks,
    compare_arms,
    credits_by_team,
    gain_per_result,
    gain_per_session,
    prefer,
    split_arms,
    success_rate,
    team_draft,
    watch_seconds,
)
from mmsearch.types import Interaction

#: Standard deviation of each ranker's noise, on scores from 0 to 1.
NOISE = {"new": 0.10, "old": 0.13}
NUM_INTENTS, SHOWN, SATISFYING_SHARE = 300, 10, 0.5

Shown = Callable[[str, int, random.Random], Sequence[str]]


@dataclass(frozen=True)
class Searchers:
    """How far down they look (a position bias), and whether they leave after a long look."""

    position_bias: float
    leave: bool


KINDS = {
    "of the demo": Searchers(0.8, leave=False),
    "leave when satisfied": Searchers(0.8, leave=True),
    "patient, leave when satisfied": Searchers(0.1, leave=True),
}


class Bed:
    """The world, its intents, and what both rankers think of every video for every intent."""

    def __init__(self) -> None:
        self.settings = WorldSettings()
        self.posts: dict[str, Post] = {post.doc_id: post for post in make_posts(self.settings)}
        listed = {doc_id: list_post(self.settings, post).video for doc_id, post in self.posts.items()}
        self.seconds = {doc_id: video.duration_s or 0.0 for doc_id, video in listed.items()}
        self.intents = choose_intents(list(self.posts.values()), NUM_INTENTS, [], random.Random(1))
        self.popularity = [(rank + 1) ** -0.7 for rank in range(len(self.intents))]
        self.scores = {name: [self._scores(name, n) for n in range(len(self.intents))] for name in NOISE}
        self.lists = {
            name: [sorted(scores, key=scores.__getitem__, reverse=True)[:SHOWN] for scores in by_intent]
            for name, by_intent in self.scores.items()
        }

    def _scores(self, ranker: str, number: int) -> dict[str, float]:
        wanted, chance = self.intents[number], random.Random(f"{ranker} {number}")
        return {
            doc_id: (promised(wanted, post) + held(wanted, post.truth) / len(wanted)) / 2
            + chance.gauss(0.0, NOISE[ranker])
            for doc_id, post in self.posts.items()
        }

    def log(self, kind: Searchers, number: int, seed: int, shown: Shown) -> Iterator[Interaction]:
        """Give the click log of sessions; `shown` gives the list for a session, an intent and its chance."""
        settings = self.settings.model_copy(update={"position_bias": kind.position_bias})
        for i in range(number):
            chance = random.Random(f"{seed} {i}")
            intent = chance.choices(range(len(self.intents)), self.popularity)[0]
            doc_ids = shown(f"s{i}", intent, chance)
            results = [self.posts[doc_id] for doc_id in doc_ids]
            looks = look_through(settings, self.intents[intent], results, self.seconds, chance)
            gone = False
            for place, (doc_id, (clicked, watch_s)) in enumerate(zip(doc_ids, looks, strict=True), start=1):
                seen = (False, None) if gone else (clicked, watch_s)
                yield Interaction(f"q{intent}", doc_id, None, place, *seen, f"s{i}")
                gone |= kind.leave and (watch_s or 0.0) >= SATISFYING_SHARE * self.seconds[doc_id]


def interleaved(bed: Bed, kind: Searchers, number: int) -> dict[str, float]:
    """Give the sessions needed by interleaving, by what counts as a gain."""
    teams: dict[tuple[str, str, str], str] = {}

    def shown(session: str, intent: int, chance: random.Random) -> Sequence[str]:
        drafted = team_draft({name: lists[intent] for name, lists in bed.lists.items()}, SHOWN, chance)
        for doc_id, team in zip(drafted.doc_ids, drafted.teams, strict=True):
            teams[session, f"q{intent}", doc_id] = team
        return drafted.doc_ids

    sessions = by_session(bed.log(kind, number, 1, shown))
    found = {}
    gains = {
        "clicks": clicks,
        "long clicks": LongClicks(bed.seconds, min_share=SATISFYING_SHARE),
        "watch": watch_seconds,
    }
    for name, gain in gains.items():
        credit = credits_by_team(sessions, teams, list(NOISE), gain)
        result = prefer("new", "old", credit[:, 0], credit[:, 1])
        found[f"interleaving: {name}"] = result.sessions_needed if result.preference > 0 else float("inf")
    return found


def tested(bed: Bed, kind: Searchers, number: int) -> dict[str, float]:
    """Give the sessions needed by an A/B test, by measure."""
    arms: dict[str, str] = {}

    def shown(session: str, intent: int, chance: random.Random) -> Sequence[str]:
        arms[session] = chance.choice(list(NOISE))
        return bed.lists[arms[session]][intent]

    split = split_arms(by_session(bed.log(kind, number, 2, shown)), arms)
    measures = {
        "click-through rate": partial(gain_per_result, gain=clicks),
        "sessions with a click": partial(success_rate, gain=clicks),
        "long clicks a session": partial(gain_per_session, gain=LongClicks(bed.seconds, min_share=SATISFYING_SHARE)),
        "watch time a session": partial(gain_per_session, gain=watch_seconds),
    }
    found = {}
    for name, measure in measures.items():
        result = compare_arms(measure(name, split["new"]), measure(name, split["old"]), permutations=1)
        found[f"A/B: {name}"] = result.sessions_needed if result.difference > 0 else float("inf")
    return found


def judged(bed: Bed) -> dict[str, float]:
    """Give the judged queries that offline PNR needs, and the grades in them."""
    posts = list(bed.posts.values())
    rows = [
        (f"q{n}", row.doc_id, row.grade, {name: bed.scores[name][n][row.doc_id] for name in NOISE})
        for n, wanted in enumerate(bed.intents)
        for row in judge(bed.settings, posts, [wanted], f"bench {n}")
    ]
    queries, doc_ids, grades, scores = zip(*rows, strict=True)
    tables = {name: Scored.from_columns(queries, doc_ids, grades, [one[name] for one in scores]) for name in NOISE}
    found = [evaluate(name, Table(table), ["pnr"]) for name, table in tables.items()]
    [result] = contrast(found, permutations=1)
    values = ", ".join(f"{one.name} {one.results[0].value:.2f}" for one in found)
    needed = result.queries_needed
    return {f"offline PNR ({values}): queries": needed, "… grades": needed * len(rows) / len(bed.intents)}


def show(by_kind: dict[str, dict[str, float]], offline: dict[str, float], number: int) -> None:
    """Print the table, and the line for programs."""
    table = Printed(title=f"needed for power 0.8 at level 0.05, found from {number:,} simulated sessions each")
    for column in ("method", *by_kind):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method in next(iter(by_kind.values())):
        table.add_row(method, *(f"{needed[method]:,.0f}" for needed in by_kind.values()))
    for method, count in offline.items():
        table.add_row(method, *[f"{count:,.0f}"] * len(by_kind))
    Console(width=120).print(table)
    needed = by_kind["patient, leave when satisfied"]
    best = {way: min(count for name, count in needed.items() if name.startswith(way)) for way in ("inter", "A/B")}
    line = {
        "name": "sessions_needed_by_interleaving",
        "value": round(best["inter"]),
        "unit": "sessions (simulated, patient searchers who leave when satisfied)",
        "ratio": round(best["A/B"] / best["inter"], 2),
        "against": "the best A/B measure, same rankers and searchers",
        "target": 1.0,
        "met": best["A/B"] > best["inter"],
    }
    print(json.dumps(line))


def main() -> None:
    """Simulate, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20_000)
    number = parser.parse_args().sessions
    bed = Bed()
    by_kind = {name: interleaved(bed, kind, number) | tested(bed, kind, number) for name, kind in KINDS.items()}
    show(by_kind, judged(bed), number)


if __name__ == "__main__":
    main()
