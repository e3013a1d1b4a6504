"""Covers: the picture that a searcher sees before the click."""

from __future__ import annotations

import io
from random import Random

from PIL import Image

from mmsearch.demo.lettering import write_slogan
from mmsearch.demo.scenes import background
from mmsearch.demo.sprites import sprite
from mmsearch.demo.vocabulary import Attribute, Meaning

#: Width and height of a cover in pixels.
COVER_SIZE = (240, 180)


def draw_cover(meaning: Meaning, text: str | None, chance: Random) -> Image.Image:
    """Draw an object in its scene, larger than in the film, with a slogan along the lower edge."""
    width, height = COVER_SIZE
    cover = background(meaning[Attribute.SCENE], COVER_SIZE, chance)
    side = round(chance.uniform(0.66, 0.78) * height)
    thing = sprite(meaning[Attribute.OBJECT], meaning[Attribute.COLOUR])
    thing = thing.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC)
    thing = thing.resize((side, side), Image.Resampling.LANCZOS)
    x = round(width * chance.uniform(0.4, 0.6) - side / 2)
    cover.paste(thing, (x, round(0.44 * height - side / 2)), thing)
    if text is not None:
        write_slogan(cover, text)
    return cover


def jpeg(image: Image.Image) -> bytes:
    """Give a picture as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
