"""The latent truth of the demo world: splits by new combinations, and shares that follow their settings."""

from __future__ import annotations

import itertools

import pytest

from mmsearch.demo.latent import LOG_DAYS, LOG_START, Post, Split, combinations, make_posts, split_sizes
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Attribute, values
from mmsearch.types import Modality

THING, COLOUR, MOTION, SCENE = Attribute.OBJECT, Attribute.COLOUR, Attribute.MOTION, Attribute.SCENE


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    return make_posts(WorldSettings())


@pytest.fixture(scope="module")
def many() -> list[Post]:
    return make_posts(WorldSettings(videos=4000))


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


@pytest.mark.parametrize("third", [MOTION, SCENE])
@pytest.mark.parametrize("seed", [0, 1, 17])
def test_no_triple_is_in_two_splits(seed: int, third: Attribute) -> None:
    triples = {split: {(m[THING], m[COLOUR], m[third]) for m in found} for split, found in combinations(seed).items()}
    for one, other in itertools.combinations(Split, 2):
        assert not triples[one] & triples[other]


def test_every_value_and_pair_of_object_and_colour_occurs_in_training(posts: list[Post]) -> None:
    train = [post.truth for post in posts if post.split is Split.TRAIN]
    for attribute in Attribute:
        assert {truth[attribute] for truth in train} == set(values(attribute))
    pairs = {(truth[THING], truth[COLOUR]) for truth in train}
    assert pairs == set(itertools.product(values(THING), values(COLOUR)))


@pytest.mark.parametrize("videos", [24, 100, 480])
def test_sizes_add_up_and_ids_are_unique(videos: int) -> None:
    posts = make_posts(WorldSettings(videos=videos))
    assert len({post.doc_id for post in posts}) == videos == sum(split_sizes(videos).values())
    for split, size in split_sizes(videos).items():
        assert size == sum(post.split is split for post in posts) > 0


def test_training_videos_are_older_than_the_log_and_the_others_newer(posts: list[Post]) -> None:
    dates = [post.published_at for post in posts]
    assert dates == sorted(dates)
    for post in posts:
        if post.split is Split.TRAIN:
            assert post.published_at < LOG_START
        else:
            assert (post.published_at - LOG_START).days >= LOG_DAYS


def test_each_share_follows_its_setting(many: list[Post]) -> None:
    settings = WorldSettings()
    bait = [post.clickbait for post in many]
    assert share(bait) == pytest.approx(settings.clickbait, abs=0.02)
    titled = [post for post in many if not post.clickbait and Modality.TITLE in post.shows]
    assert share([not p.shows[Modality.TITLE] for p in titled]) == pytest.approx(settings.vague_title, abs=0.025)
    covered = [post for post in many if not post.clickbait and Modality.COVER in post.shows]
    others = [post.shows[Modality.COVER][THING] != post.truth[THING] for post in covered]
    assert share(others) == pytest.approx(settings.other_cover, abs=0.025)
    telling = [post.shows[Modality.TITLE] for post in many if post.shows.get(Modality.TITLE)]
    assert share([Attribute.TOPIC not in told for told in telling]) == pytest.approx(settings.speech_only, abs=0.025)
    assert share([Attribute.PLACE not in told for told in telling]) == pytest.approx(settings.screen_only, abs=0.025)


@pytest.mark.parametrize("modality", [m for m in Modality if m is not Modality.COVER_OCR])
def test_each_modality_is_missing_at_its_share(many: list[Post], modality: Modality) -> None:
    assert share([modality not in post.shows for post in many]) == pytest.approx(0.06, abs=0.015)


def test_content_tells_the_truth_and_clickbait_does_not(many: list[Post]) -> None:
    for post in many:
        for modality in (Modality.FRAMES, Modality.ASR, Modality.CONTENT_OCR, Modality.ACCOUNT):
            assert post.shows.get(modality, {}).items() <= post.truth.items()
        if post.clickbait:
            for modality in (Modality.TITLE, Modality.COVER):
                told = post.shows.get(modality, {THING: ""})
                assert told[THING] != post.truth[THING]
        assert (Modality.COVER_OCR in post.shows) == (Modality.COVER in post.shows)


def test_nothing_is_missing_when_the_share_is_zero() -> None:
    assert all(set(post.shows) == set(Modality) for post in make_posts(WorldSettings(missing=0.0)))


def test_a_video_that_lacks_everything_keeps_its_title() -> None:
    assert all(set(post.shows) == {Modality.TITLE} for post in make_posts(WorldSettings(missing=1.0)))
