"""Covers: the picture that a searcher sees before the click."""

from __future__ import annotations

import io
from random import Random

from PIL import Image

from mmsearch.demo.lettering import write_slogan
from mmsearch.demo.scenes import background
from mmsearch.demo.sprites import put_badge
from mmsearch.demo.vocabulary import Attribute, Meaning

#: Width and height of a cover in pixels.
COVER_SIZE = (240, 180)


def draw_cover(meaning: Meaning, text: str | None, chance: Random) -> Image.Image:
    """Draw an object in its scene, larger than in the film, with a slogan along the lower edge."""
    width, height = COVER_SIZE
    cover = background(meaning[Attribute.SCENE], COVER_SIZE, chance)
    put_badge(cover, (meaning[Attribute.OBJECT], meaning[Attribute.COLOUR]), (width / 2, 0.44 * height), 0.84 * height)
    if text is not None:
        write_slogan(cover, text)
    return cover


def jpeg(image: Image.Image) -> bytes:
    """Give a picture as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
