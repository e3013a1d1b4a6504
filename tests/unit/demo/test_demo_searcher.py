"""The simulated searchers and judges: what makes them click, watch and grade."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import pytest

from mmsearch.demo.latent import Split
from mmsearch.demo.relevance import grade, held
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Attribute, Language, Meaning, values, words
from mmsearch.demo.world import World, plan_world
from mmsearch.types import CONTENT, PERCEPTION, Interaction, Judgment, Modality

pytestmark = pytest.mark.slow  # the whole world is drawn

THING, COLOUR, MOTION, SCENE, TOPIC, PLACE = Attribute


@pytest.fixture(scope="module")
def world() -> World:
    return plan_world(WorldSettings())


@pytest.fixture(scope="module")
def log(world: World) -> list[Interaction]:
    return [row for row in world.tables["interactions.jsonl"] if isinstance(row, Interaction)]


def judged(world: World, split: Split) -> list[Judgment]:
    return [row for row in world.tables[f"judgments_{split}.jsonl"] if isinstance(row, Judgment)]


def understand(query: str) -> Meaning:
    """Read a query back into what it asks for: the longest word of each attribute that it contains."""
    wanted: dict[Attribute, str] = {}
    for attribute in Attribute:
        found = [
            (len(form), value)
            for language in Language
            for value in values(attribute)
            for form in words(attribute, value, language)
            if all(part in query for part in form.split("{}"))
        ]
        if found:
            wanted[attribute] = max(found)[1]
    return wanted


def rate(rows: list[Interaction]) -> float:
    return sum(row.clicked for row in rows) / len(rows)


def test_sizes_are_as_promised(world: World, log: list[Interaction]) -> None:
    assert 3_000 <= sum(row.clicked for row in log) <= 8_000
    assert len({row.query for row in judged(world, Split.TEST)}) >= 60
    by_query = defaultdict(list)
    for split in Split:
        for row in judged(world, split):
            by_query[split, row.query].append(row.doc_id)
    assert all(15 <= len(docs) == len(set(docs)) <= 30 for docs in by_query.values())


def test_held_out_videos_and_queries_are_in_no_training_table(world: World, log: list[Interaction]) -> None:
    train = set(world.card["splits"]["train"])
    assert {row.doc_id for row in log} | {row.doc_id for row in judged(world, Split.TRAIN)} <= train
    asked = {row.query for row in log} | {row.query for row in judged(world, Split.TRAIN)}
    for split in (Split.VAL, Split.TEST):
        rows = judged(world, split)
        assert {row.doc_id for row in rows} <= set(world.card["splits"][split])
        assert not asked & {row.query for row in rows}


def test_clicks_fall_with_the_position_by_its_bias() -> None:
    def clicks(bias: float) -> tuple[float, float]:
        rows = plan_world(WorldSettings(sessions=800, position_bias=bias)).tables["interactions.jsonl"]
        shown = [row for row in rows if isinstance(row, Interaction)]
        top, low = ([row for row in shown if row.position in at] for at in ((1, 2), (6, 7)))
        return rate(top), rate(low)

    top, low = clicks(1.0)
    assert top > 3 * low
    top, low = clicks(0.0)
    assert top < 2.5 * low


def test_clickbait_is_left_early(world: World, log: list[Interaction]) -> None:
    posts = {entry.post.doc_id: entry.post for entry in world.listings}
    seconds = {entry.video.doc_id: entry.video.duration_s or 0.0 for entry in world.listings}
    lured, served = [], []
    for row in log:
        post, wanted = posts[row.doc_id], understand(row.query)
        if row.clicked and row.watch_s is not None:
            told = post.shows.get(Modality.TITLE, {})
            if post.clickbait and THING in wanted and told.get(THING) == wanted[THING]:
                lured.append(row.watch_s / seconds[row.doc_id])
            elif held(wanted, post.truth) == len(wanted):
                served.append(row.watch_s / seconds[row.doc_id])
    assert len(lured) > 30
    assert sum(lured) / len(lured) < 0.6 * sum(served) / len(served)


def test_a_row_is_watched_only_when_it_was_clicked(world: World, log: list[Interaction]) -> None:
    seconds = {entry.video.doc_id: entry.video.duration_s or 0.0 for entry in world.listings}
    for row in log:
        assert (row.watch_s is None) == (not row.clicked)
        assert row.watch_s is None or 0 < row.watch_s <= seconds[row.doc_id]
        assert row.position is not None
        assert 1 <= row.position <= 10


@pytest.mark.parametrize(
    ("wanted", "grades"),
    [((THING, COLOUR, MOTION), [3, 2, 1, 0]), ((THING, TOPIC), [3, 1, 0])],
)
def test_grades_follow_the_share_that_holds(wanted: tuple[Attribute, ...], grades: list[int]) -> None:
    truth = dict.fromkeys(Attribute, "yes")
    for missed, expected in enumerate(grades):
        asked = {attribute: "no" if n < missed else "yes" for n, attribute in enumerate(wanted)}
        assert grade(asked, truth) == expected


def test_judgments_are_what_the_videos_really_are(world: World) -> None:
    posts = {entry.post.doc_id: entry.post for entry in world.listings}
    for row in judged(world, Split.TEST):
        assert row.grade == grade(understand(row.query), posts[row.doc_id].truth)


def test_every_judged_query_has_a_full_answer_and_an_irrelevant_video(world: World) -> None:
    grades = defaultdict(set)
    for row in judged(world, Split.TEST):
        grades[row.query].add(row.grade)
    assert all({0, 3} <= found for found in grades.values())


def pair_accuracy(world: World, seen: tuple[Modality, ...]) -> float:
    """Give the share of test pairs that a perfect reader of these modalities ranks right; ties count half."""
    posts = {entry.post.doc_id: entry.post for entry in world.listings}
    lists = defaultdict(list)
    for row in judged(world, Split.TEST):
        wanted, shows, score = understand(row.query), posts[row.doc_id].shows, 0.0
        for attribute, value in wanted.items():
            told = [shows[m][attribute] == value for m in reversed(seen) if attribute in shows.get(m, {})]
            score += told[0] if told else 0.25
        lists[row.query].append((row.grade, round(score / len(wanted), 6)))
    right = total = 0.0
    for rows in lists.values():
        for (grade_a, score_a), (grade_b, score_b) in combinations(rows, 2):
            if grade_a != grade_b:
                total += 1
                right += 0.5 if score_a == score_b else (grade_a > grade_b) == (score_a > score_b)
    return right / total


def test_no_modality_alone_tells_the_grades_and_all_together_do(world: World) -> None:
    everything = pair_accuracy(world, CONTENT) - 0.5
    assert everything > 0.45
    for seen in (*((modality,) for modality in Modality), PERCEPTION):
        assert pair_accuracy(world, seen) - 0.5 < 0.75 * everything
    assert pair_accuracy(world, PERCEPTION) > max(pair_accuracy(world, (m,)) for m in PERCEPTION)
