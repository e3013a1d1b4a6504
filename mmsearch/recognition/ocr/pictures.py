"""The text of a cover, and of the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from mmsearch.errors import MediaError, MissingExtraError
from mmsearch.protocols import TextReader, UInt8
from mmsearch.recognition.ocr.boxes import Line, keep_legible, read_lines
from mmsearch.recognition.ocr.by_rapidocr import RapidOcrReader
from mmsearch.recognition.ocr.merge import merge_frames
from mmsearch.recognition.ocr.settings import OcrSettings

T = TypeVar("T")

_GRID = (64, 36)
_CHANGED = 6  # grey levels, the mean of a cell of the grid: above what compression does to a still picture


class PictureText:
    """Reads covers and frames by one set of settings; it can be sent to a worker, where its models are loaded.

    Args:
        settings: what is kept, and how much is read; the reader too where none is given.
        reader: what reads a picture.
    """

    def __init__(self, settings: OcrSettings, reader: TextReader | None = None) -> None:
        self._settings = settings
        self._reader = reader or RapidOcrReader.of(settings)

    def read_cover(self, picture: UInt8) -> str | None:
        """Give the text of a picture, a line of it a line; None = there is none.

        Raises:
            MediaError: `ocr_failed`, with what the reader said.
            MissingExtraError: the reader's library is not installed.
        """
        return self._text(merge_frames([self._lines(picture)]))

    def read_frames(self, pictures: Iterable[UInt8]) -> str | None:
        """Give the text of pictures in time order, what several of them show given once; None = there is none.

        A picture that looks like the one before is not read again.

        Raises: as `read_cover`.
        """
        frames: list[list[Line]] = []
        before: UInt8 | None = None
        for picture in pictures:
            look = _look(picture)
            if before is None or not _alike(before, look):
                frames.append(self._lines(picture))
                before = look
        return self._text(merge_frames(frames))

    def _lines(self, picture: UInt8) -> list[Line]:
        try:
            boxes = self._reader.read(picture)
        except (MissingExtraError, MemoryError):
            raise
        except Exception as error:  # whatever the reader's libraries raise belongs to this picture alone
            raise MediaError("ocr_failed", f"{type(error).__name__}: {error}") from error
        legible = keep_legible(
            boxes,
            (picture.shape[0], picture.shape[1]),
            min_confidence=self._settings.min_confidence,
            min_height=self._settings.min_height,
        )
        return read_lines(legible)

    def _text(self, lines: Sequence[Line]) -> str | None:
        return "\n".join(line.text for line in lines)[: self._settings.max_chars].strip() or None


def spread(items: Sequence[T], count: int) -> list[T]:
    """Give at most `count` of some items: those at the centres of so many equal parts, in order."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _look(picture: UInt8) -> UInt8:
    """Give the brightness of a picture in a coarse grid."""
    return np.asarray(Image.fromarray(picture).convert("L").resize(_GRID, Image.Resampling.BOX))


def _alike(first: UInt8, second: UInt8) -> bool:
    return int(np.abs(first.astype(np.int16) - second).max()) < _CHANGED
