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


def caption(size: tuple[int, int], text: str, edge: Literal["top", "bottom"]) -> Image.Image:
    """Give a small caption with a dark rim, at the upper left or lower left of a clear picture to lay over frames."""
    width, height = size
    overlay = Image.new("RGBA", size, (*_INK, 0))
    font = _fitting(text, width - 12, height // 8)
    y = 4 if edge == "top" else height - 6 - round(1.15 * font.size)
    ImageDraw.Draw(overlay).text((6, y), text, _WHITE, font, stroke_width=2, stroke_fill=_INK)
    return overlay


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
