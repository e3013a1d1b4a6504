"""A picture of what masked autoencoding makes of covers: original, masked and rebuilt, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmsearch.encoders.mae import MaePictures
from mmsearch.files import replacing

_GUTTER = 2
_CAPTION = 16
_SMALLEST = 96


def write_pictures(path: Path, pictures: MaePictures, limit: int = 8) -> None:
    """Write a PNG with a row a cover: original, masked, rebuilt.

    Pictures smaller than 96 pixels are enlarged by a whole factor, so that patches stay sharp.

    Args:
        path: the PNG, replaced as a whole if it is there; its folder is made.
        pictures: what to show.
        limit: most rows; the first covers are taken. Without any, only captions are written.
    """
    columns = {"original": pictures.original, "masked": pictures.masked, "rebuilt": pictures.rebuilt}
    rows, side = min(limit, len(pictures.original)), pictures.original.shape[-1]
    times = -(-_SMALLEST // side)
    step = side * times + _GUTTER
    sheet = Image.new("RGB", (3 * step + _GUTTER, _CAPTION + rows * step + _GUTTER), "white")
    for column, (caption, squares) in enumerate(columns.items()):
        left = _GUTTER + column * step
        ImageDraw.Draw(sheet).text((left, 2), caption, fill="black", font=ImageFont.load_default())
        for row, square in enumerate(squares[:rows]):
            sheet.paste(_picture(square, times), (left, _CAPTION + _GUTTER + row * step))
    with replacing(path) as beside:
        sheet.save(beside, format="PNG")


def _picture(square: Tensor, times: int) -> Image.Image:
    pixels = square.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(times, 0).repeat(times, 1)))
