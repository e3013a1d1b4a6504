"""Pictures: untrusted files in, RGB squares and JPEG bytes out."""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mmsearch.data.media import MediaLimits, check_file, read_head
from mmsearch.data.sniff import IMAGE, sniff
from mmsearch.errors import MediaError

UInt8 = npt.NDArray[np.uint8]
#: How a picture becomes a square: `squash` changes its proportions, `crop` keeps the centre, `pad` adds black bars.
Fit = Literal["squash", "crop", "pad"]

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")


def read_image(path: str, *, limits: MediaLimits, size: int) -> Image.Image:
    """Read a picture as RGB: turned as its EXIF data say, on white where it is transparent, first frame if it moves.

    Args:
        path: the file; JPEG, PNG, WebP, GIF, BMP or AVIF by its content, whatever its name.
        limits: bounds; the number of pixels is checked in the header, before anything is decoded.
        size: edge of the square that it will become: a large JPEG is decoded at a fraction of its size, but not below
            twice this.

    Raises:
        MediaError: those of `check_file`, `not_an_image`, `too_many_pixels`, `truncated` or `damaged`.
    """
    file = check_file(path, limits.max_image_bytes)
    found = sniff(read_head(file))
    if found not in (IMAGE, "gif"):
        raise MediaError("not_an_image", f"{path}: {f'it is {found}' if found else 'the format is not known'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that we check and about odd metadata
            with Image.open(file, formats=_FORMATS) as image:
                _check_pixels(path, image.size, limits)
                image.draft("RGB", (2 * size, 2 * size))
                return _as_rgb(ImageOps.exif_transpose(image))
    except (MediaError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise MediaError("too_many_pixels", f"{path}: {error}") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, … on broken files
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise MediaError(reason, f"{path}: {error}") from error


def _check_pixels(path: str, size: tuple[int, int], limits: MediaLimits) -> None:
    width, height = size
    if width * height > limits.max_image_pixels:
        raise MediaError("too_many_pixels", f"{path}: {width} x {height}, the limit is {limits.max_image_pixels:,}")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: `convert` would clip them
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def to_square(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Scale a picture to a square of `size` pixels, bicubic with the filter widened when shrinking (antialias)."""
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)


def to_jpeg(image: Image.Image, quality: int) -> bytes:
    """Give the JPEG bytes of an RGB picture; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def from_jpeg(data: bytes) -> UInt8:
    """Give the pixels of JPEG bytes that `to_jpeg` wrote, [H, W, 3]."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))
