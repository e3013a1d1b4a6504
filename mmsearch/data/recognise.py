"""What is recognised in the pictures and the sound of a video, where the table does not say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mmsearch.data.images import UInt8, read_image
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.sound import decode_sound
from mmsearch.protocols import Transcriber
from mmsearch.recognition.kept import Kept, KeptReader, KeptTranscriber
from mmsearch.recognition.ocr import OcrSettings, PictureText, RapidOcrReader, spread
from mmsearch.recognition.speech import SoundText, SpeechSettings
from mmsearch.types import Modality, Video


class Recognition:
    """Recognises by one set of settings; its models are loaded with the first video that needs them.

    Args:
        settings: the recognisers, and their limits.
        kept: keeps what they find, so that nothing is recognised twice, and speech with its times; None = nothing does.
    """

    def __init__(self, settings: PrepareSettings, kept: Kept | None = None) -> None:
        self._settings, self._kept = settings, kept
        self._pictures = None if not settings.ocr.is_on else _pictures(settings.ocr, kept)
        self._sounds = None if settings.speech is None else _sounds(settings.speech, kept)

    def of(
        self, video: Video, *, has_cover: bool, shown: Sequence[str | UInt8]
    ) -> dict[Modality, Callable[[], str | None]]:
        """Give what is to be recognised of a video; each call gives the text, None = there is none.

        Args:
            video: its row; a text that is given there is not recognised.
            has_cover: whether its cover can be read.
            shown: what its frames were made from, in time order: paths of pictures, or pixels.

        The calls raise `MediaError` (`ocr_failed`, `speech_failed`, those of `decode_sound`); and what would befall
        every video: `MissingExtraError` where a recogniser is not installed, `ConfigError` where its model is absent.
        """
        reader, cover = self._pictures, video.cover
        todo: dict[Modality, Callable[[], str | None]] = {}
        if reader is not None and has_cover and cover is not None and not video.cover_ocr:
            todo[Modality.COVER_OCR] = lambda: reader.read_cover(self._large(cover))
        if reader is not None and len(shown) and not video.content_ocr:
            chosen = spread(shown, self._settings.ocr.max_frames)
            todo[Modality.CONTENT_OCR] = lambda: reader.read_frames(self._large(picture) for picture in chosen)
        if self._sounds is not None and video.video is not None and not video.asr:
            todo[Modality.ASR] = partial(self._speech, self._sounds, video.doc_id, video.video)
        return todo

    def _speech(self, sounds: SoundText, doc_id: str, path: str) -> str | None:
        assert self._settings.speech is not None  # noqa: S101 (for the type checker)
        sound = decode_sound(path, max_s=self._settings.speech.max_s, limits=self._settings.limits)
        if sound is None:
            return None
        segments = sounds.segments(sound)
        if self._kept is not None:
            self._kept.put_speech(doc_id, segments)
        return sounds.text_of(segments)

    def _large(self, picture: str | UInt8) -> UInt8:
        """Give a picture near its own size: the stored squares are too small to be read."""
        if not isinstance(picture, str):
            return picture
        half = self._settings.ocr.max_side // 2  # `read_image` keeps twice the size that it is told
        return np.asarray(read_image(picture, limits=self._settings.limits, size=half))


def _pictures(settings: OcrSettings, kept: Kept | None) -> PictureText:
    reader = RapidOcrReader.of(settings)
    return PictureText(settings, reader if kept is None else KeptReader(reader, kept, reader.recipe))


def _sounds(settings: SpeechSettings, kept: Kept | None) -> SoundText:
    transcriber: Transcriber = settings.build()
    if kept is not None:
        transcriber = KeptTranscriber(transcriber, kept, settings.recipe)
    return SoundText(transcriber, max_chars=settings.max_chars)
