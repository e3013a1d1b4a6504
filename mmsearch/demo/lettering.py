"""Text on pictures, in the font that comes with the package (a subset of Noto Sans CJK, SIL Open Font License 1.1)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

FONT = Path(__file__).parent / "font" / "NotoSansCJK-Medium-subset.otf"

_WHITE, _INK, _YELLOW = (255, 255, 255), (24, 22, 34), (255, 226, 60)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


def write_caption(image: Image.Image, text: str, edge: Literal["top", "bottom"]) -> None:
    """Write a small caption at the upper left or lower left of a frame, with a dark rim."""
    font, rim = _fitting(text, image.width - 12, image.height // 8), 2
    y = 4 if edge == "top" else image.height - 6 - round(1.15 * font.size)
    ImageDraw.Draw(image).text((6, y), text, _WHITE, font, stroke_width=rim, stroke_fill=_INK)


def write_slogan(image: Image.Image, text: str) -> None:
    """Write a slogan on a dark band along the lower edge of a cover."""
    font = _fitting(text, image.width - 16, image.height // 7)
    band = round(1.6 * font.size)
    draw = ImageDraw.Draw(image, "RGBA")
    draw.rectangle((0, image.height - band, image.width, image.height), (*_INK, 190))
    draw.text((image.width / 2, image.height - band / 2), text, _YELLOW, font, anchor="mm")


def _fitting(text: str, width: int, size: int) -> ImageFont.FreeTypeFont:
    """Give the font in the greatest size up to `size` in which the text is no wider than `width`."""
    while size > 8 and _font(size).getlength(text) > width:
        size -= 1
    return _font(size)
