"""Short films of a moving object, as H.264 in MP4."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mmsearch.demo.lettering import write_caption
from mmsearch.demo.scenes import background
from mmsearch.demo.sprites import sprite
from mmsearch.demo.vocabulary import Attribute, Meaning
from mmsearch.extras import require

#: Width and height of a film in pixels.
FILM_SIZE = (160, 120)
_WIDTH, _HEIGHT = FILM_SIZE

#: One thread and no CPU-dependent choices: the same frames give the same bytes everywhere with the same x264.
#: No B-frames: such a file needs an edit list, and not every reader heeds it.
_X264 = {
    "preset": "veryfast",
    "crf": "26",
    "threads": "1",
    "x264-params": "threads=1:sliced-threads=0:cpu-independent=1:bframes=0:keyint=20:scenecut=40",
}


@dataclass(frozen=True, slots=True)
class Shot:
    """A piece of film between two cuts. `size` is the object's height as a share of the picture; 0 = scene only."""

    size: float
    place: Image.Image
    caption: str
    edge: Literal["top", "bottom"]


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where the object is: centre in pixels, size factor, degrees, and strength of the rays behind it (0 to 1)."""

    x: float = _WIDTH / 2
    y: float = _HEIGHT / 2
    zoom: float = 1.0
    degrees: float = 0.0
    glow: float = 0.0


def shot_lengths(rate: int, chance: Random) -> list[int]:
    """Give the lengths in frames of the 2 to 4 shots of a film of 2 to 4 seconds."""
    shots = chance.choice((2, 2, 3, 4))
    total = round(chance.uniform(2.0, 4.0) * rate)
    return [total // shots + (n < total % shots) for n in range(shots)]


def shoot(meaning: Meaning, captions: tuple[str, str], rate: int, chance: Random) -> Iterator[npt.NDArray[np.uint8]]:
    """Give the frames of a film.

    Args:
        meaning: object, colour, motion and scene that are seen; one shot of three or four may show the scene alone.
        captions: texts drawn into the shots in turn.
        rate: frames per second.
        chance: where lengths, light and details come from; `shot_lengths` is what it gives first.

    Returns:
        RGB frames, [H, W, 3].
    """
    lengths = shot_lengths(rate, chance)
    without = chance.randrange(len(lengths)) if len(lengths) > 2 and chance.random() < 0.4 else -1
    thing = sprite(meaning[Attribute.OBJECT], meaning[Attribute.COLOUR])
    start = chance.random()
    for number, frames in enumerate(lengths):
        place = background(meaning[Attribute.SCENE], FILM_SIZE, chance)
        size = 0.0 if number == without else chance.uniform(0.55, 0.7)
        shot = Shot(size, place, captions[number % 2], chance.choice(("top", "bottom")))
        for frame in range(frames):
            pose = _pose(meaning[Attribute.MOTION], start + frame / rate, frame / frames)
            yield np.asarray(_compose(shot, thing, pose))
        start += frames / rate


def encode(frames: Iterator[npt.NDArray[np.uint8]], rate: int, path: Path) -> int:
    """Write frames as H.264 (yuv420p) in MP4, and give their number; the bytes depend on frames and x264 alone.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    av = require("av", extra="video")
    count = 0
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return count


def _pose(motion: str, seconds: float, share: float) -> _Pose:
    """Give where an object is at a time since the start, and at a share of its shot."""
    beat = abs(math.sin(math.pi * 1.3 * seconds))
    if motion == "bounce":
        return _Pose(y=_HEIGHT * (0.68 - 0.42 * beat))
    if motion == "spin":
        return _Pose(degrees=-300.0 * seconds)
    if motion == "cross":
        return _Pose(x=_WIDTH * (1.15 * share - 0.08), y=_HEIGHT * 0.56)
    if motion == "grow":
        return _Pose(zoom=0.45 + 1.15 * share)
    return _Pose(glow=0.35 + 0.65 * beat)


def _compose(shot: Shot, thing: Image.Image, pose: _Pose) -> Image.Image:
    picture = shot.place.copy()
    if shot.size:
        side = round(shot.size * pose.zoom * _HEIGHT)
        if pose.glow:
            _rays(picture, pose, side)
        placed = thing.rotate(pose.degrees, Image.Resampling.BICUBIC) if pose.degrees else thing
        placed = placed.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.0)
        picture.paste(placed, (round(pose.x - side / 2), round(pose.y - side / 2)), placed)
    write_caption(picture, shot.caption, shot.edge)
    return picture


def _rays(picture: Image.Image, pose: _Pose, side: int) -> None:
    """Draw bright rays around the place of the object, longer the stronger the glow."""
    draw = ImageDraw.Draw(picture)
    reach = side * (0.5 + 0.3 * pose.glow)
    for ray in range(12):
        angle = math.pi * ray / 6
        left, right = angle - 0.13, angle + 0.13
        points = [(pose.x, pose.y)]
        points += [(pose.x + reach * math.cos(a), pose.y + reach * math.sin(a)) for a in (left, right)]
        draw.polygon(points, (255, 252, 214))
    halo = side * (0.4 + 0.12 * pose.glow)
    draw.ellipse((pose.x - halo, pose.y - halo, pose.x + halo, pose.y + halo), (255, 246, 170))
