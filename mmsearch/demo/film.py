"""Short films of a moving object, as H.264 in MP4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.demo.lettering import caption
from mmsearch.demo.motion import Pose, draw_marks, pose
from mmsearch.demo.scenes import background
from mmsearch.demo.sprites import put_badge
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
class _Shot:
    """What stays the same between two cuts: the place, the text over it, and the diameter of the badge in pixels."""

    place: Image.Image
    caption: Image.Image
    diameter: float


def shot_lengths(rate: int, chance: Random) -> list[int]:
    """Give the lengths in frames of the 2 to 4 shots of a film of 2 to 4 seconds; the last one is a quarter of it."""
    moving = chance.choice((1, 1, 2, 3))
    total = round(chance.uniform(2.0, 4.0) * rate)
    last = total // 4
    return [(total - last) // moving + (n < (total - last) % moving) for n in range(moving)] + [last]


def shoot(meaning: Meaning, captions: tuple[str, str], rate: int, chance: Random) -> Iterator[npt.NDArray[np.uint8]]:
    """Give the frames of a film: the object moves in all shots but the last one, where it stands still and large.

    Args:
        meaning: object, colour, motion and scene that are seen.
        captions: texts drawn into the shots in turn.
        rate: frames per second.
        chance: where lengths, light and details come from; `shot_lengths` is what it gives first.

    Returns:
        RGB frames, [H, W, 3].
    """
    lengths = shot_lengths(rate, chance)
    look = (meaning[Attribute.OBJECT], meaning[Attribute.COLOUR])
    seconds = chance.random()
    for number, frames in enumerate(lengths):
        motion = meaning[Attribute.MOTION] if number < len(lengths) - 1 else None
        place = background(meaning[Attribute.SCENE], FILM_SIZE, chance)
        text = caption(FILM_SIZE, captions[number % 2], chance.choice(("top", "bottom")))
        shot = _Shot(place, text, _HEIGHT * (chance.uniform(0.58, 0.66) if motion else 0.84))
        for frame in range(frames):
            at = pose(motion, seconds + frame / rate, frame / frames) if motion else Pose()
            yield np.asarray(_compose(shot, look, motion, at))
        seconds += frames / rate


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


def _compose(shot: _Shot, look: tuple[str, str], motion: str | None, at: Pose) -> Image.Image:
    picture = shot.place.copy()
    diameter = shot.diameter * at.zoom
    if motion is not None:
        draw_marks(picture, motion, at, diameter)
    put_badge(picture, look, (at.x * _WIDTH, at.y * _HEIGHT), diameter, at.degrees)
    picture.paste(shot.caption, mask=shot.caption)
    return picture
