"""Films and covers: real files that any decoder reads, the same bytes every time."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from mmsearch.demo.chance import stream
from mmsearch.demo.cover import COVER_SIZE, draw_cover, jpeg
from mmsearch.demo.film import FILM_SIZE, encode, shoot, shot_lengths
from mmsearch.demo.scenes import background
from mmsearch.demo.sprites import COLOURS, sprite
from mmsearch.demo.vocabulary import Attribute, Meaning, values

av = pytest.importorskip("av")


def meaning(motion: str = "spin") -> Meaning:
    return {
        Attribute.OBJECT: "robot",
        Attribute.COLOUR: "blue",
        Attribute.MOTION: motion,
        Attribute.SCENE: "beach",
    }


def film(motion: str, seed: int = 0) -> list[np.ndarray]:
    return list(shoot(meaning(motion), ("北京", "follow me"), 8, Random(seed)))


def test_a_film_is_h264_and_shows_what_was_drawn(tmp_path: Path) -> None:
    drawn = film("bounce")
    path = tmp_path / "film.mp4"
    assert encode(iter(drawn), 8, path) == len(drawn)
    with av.open(str(path)) as container:
        stream_ = container.streams.video[0]
        assert (stream_.codec_context.name, stream_.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream_.width, stream_.height) == FILM_SIZE
        assert float(stream_.average_rate) == 8.0
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == len(drawn)
    for ours, theirs in zip(drawn, decoded, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 12


@pytest.mark.parametrize("motion", values(Attribute.MOTION))
def test_a_film_moves_and_ends_still(motion: str) -> None:
    frames = film(motion)
    lengths = shot_lengths(8, Random(0))
    assert sum(lengths) == len(frames)
    assert 2 <= len(lengths) <= 4
    assert 2.0 <= len(frames) / 8 <= 4.0
    assert np.abs(frames[0].astype(int) - frames[lengths[0] // 2]).mean() > 1
    np.testing.assert_array_equal(frames[-1], frames[-lengths[-1]])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        encode(iter(film("grow", seed)), 8, tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_a_cover_is_a_jpeg_and_the_same_every_time() -> None:
    one, same = (jpeg(draw_cover(meaning(), "蓝色机器人", stream(3, "cover"))) for _ in range(2))
    assert one == same
    with Image.open(io.BytesIO(one)) as image:
        assert (image.format, image.size) == ("JPEG", COVER_SIZE)


def test_the_slogan_is_seen_and_a_cover_without_one_has_no_band() -> None:
    said, silent = (np.asarray(draw_cover(meaning(), text, Random(1))).astype(int) for text in ("WOW", None))
    band = COVER_SIZE[1] * 4 // 5
    assert np.abs(said - silent)[band + 10 :].mean() > 20
    assert np.abs(said - silent)[: band - 20].mean() == 0


def test_colours_and_shapes_are_far_apart() -> None:
    for one, other in itertools.combinations(COLOURS.values(), 2):
        assert np.abs(np.subtract(one, other)).sum() > 100
    shapes = [np.asarray(sprite(thing, "red").resize((24, 24)))[..., 3] > 128 for thing in values(Attribute.OBJECT)]
    for first, second in itertools.combinations(shapes, 2):
        assert (first ^ second).mean() > 0.08


def test_every_object_fills_most_of_its_square() -> None:
    for thing in values(Attribute.OBJECT):
        left, top, right, bottom = sprite(thing, "green").getchannel("A").getbbox() or (0, 0, 0, 0)
        assert max(right - left, bottom - top) > 0.8 * 192


def test_two_backgrounds_of_a_scene_are_nearer_than_those_of_two_scenes() -> None:
    def mean(scene: str, seed: int) -> np.ndarray:
        return np.asarray(background(scene, (16, 12), Random(seed))).astype(float)

    for scene, other in itertools.combinations(values(Attribute.SCENE), 2):
        same = np.abs(mean(scene, 1) - mean(scene, 2)).mean()
        assert same < np.abs(mean(scene, 1) - mean(other, 2)).mean()
