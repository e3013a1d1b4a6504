"""What is recognised in the pictures of a video, where the table does not say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmsearch.data.images import UInt8, read_image
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.recognition.ocr import PictureText, spread
from mmsearch.types import Modality, Video


class Recognition:
    """Recognises by one set of settings; its models are loaded with the first picture that needs them."""

    def __init__(self, settings: PrepareSettings) -> None:
        self._settings = settings
        self._pictures = PictureText(settings.ocr) if settings.ocr.is_on else None

    def of(
        self, video: Video, *, has_cover: bool, shown: Sequence[str | UInt8]
    ) -> dict[Modality, Callable[[], str | None]]:
        """Give what is to be recognised of a video; each call gives the text, None = there is none.

        Args:
            video: its row; a text that is given there is not recognised.
            has_cover: whether its cover can be read.
            shown: what its frames were made from, in time order: paths of pictures, or pixels.

        The calls raise `MediaError` (`ocr_failed`), and `MissingExtraError` where the recogniser is not installed.
        """
        reader, cover = self._pictures, video.cover
        todo: dict[Modality, Callable[[], str | None]] = {}
        if reader is not None and has_cover and cover is not None and not video.cover_ocr:
            todo[Modality.COVER_OCR] = lambda: reader.read_cover(self._large(cover))
        if reader is not None and len(shown) and not video.content_ocr:
            chosen = spread(shown, self._settings.ocr.max_frames)
            todo[Modality.CONTENT_OCR] = lambda: reader.read_frames(self._large(picture) for picture in chosen)
        return todo

    def _large(self, picture: str | UInt8) -> UInt8:
        """Give a picture near its own size: the stored squares are too small to be read."""
        if not isinstance(picture, str):
            return picture
        half = self._settings.ocr.max_side // 2  # `read_image` keeps twice the size that it is told
        return np.asarray(read_image(picture, limits=self._settings.limits, size=half))
