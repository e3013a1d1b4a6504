"""Preparing one video: its files in, texts and JPEG squares with content hashes out. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from mmsearch.data.images import UInt8, read_image, to_jpeg, to_square
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.recognise import Recognition
from mmsearch.data.transcripts import transcript_text
from mmsearch.data.video import decode_frames
from mmsearch.errors import MediaError
from mmsearch.files import hash_bytes
from mmsearch.protocols import PreparedVideo
from mmsearch.recognition.kept import Kept
from mmsearch.types import TEXTS, Modality, Video
from mmsearch.workers import Failure

T = TypeVar("T")

#: Changes when the same settings would give other bytes.
RECIPE_VERSION = 1
#: Reasons that tell of a machine on a day as much as of a file: another try may go better.
_FAILURES = frozenset(
    {*(failure.value for failure in Failure), "unknown", "unreadable_file", "too_slow", "ocr_failed", "speech_failed"}
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a video, or one of its modalities, is not in the corpus. `modality` None = the whole video."""

    doc_id: str
    modality: str | None
    reason: str
    detail: str

    @property
    def is_failure(self) -> bool:
        """Whether a worker did not get through, and another try may: out of time, out of memory, a disk's error."""
        return self.reason in _FAILURES


@dataclass(frozen=True, slots=True)
class Preparation:
    """What became of a video: prepared or None, and what was rejected."""

    video: PreparedVideo | None
    rejections: tuple[Rejection, ...] = ()


class VideoPreparer:
    """Prepares videos by one set of settings; an object so that worker processes get the settings once.

    Args:
        settings: what becomes of a video.
        kept: keeps what is recognised; None = nothing does.
    """

    def __init__(self, settings: PrepareSettings, kept: Kept | None = None) -> None:
        self._settings = settings
        recipe = f"picture {RECIPE_VERSION} {settings.image_size} {settings.fit} {settings.jpeg_quality}"
        self._picture_recipe = recipe.encode()
        self._frames_recipe = f"{recipe} {settings.num_frames}".encode()
        self._recognition = Recognition(settings, kept)

    def __call__(self, video: Video) -> Preparation:
        """Prepare a video; what is broken in its files comes back as rejections, never as an exception."""
        rejections: list[Rejection] = []

        def attempt(modality: Modality, make: Callable[[], T]) -> T | None:
            try:
                return make()
            except MediaError as error:
                rejections.append(Rejection(video.doc_id, modality.value, error.reason, error.detail))
                return None

        texts: dict[Modality, str] = {m: t for m in TEXTS if m is not Modality.ASR and (t := getattr(video, m.value))}
        if video.asr and (
            asr := attempt(Modality.ASR, lambda: transcript_text(video.asr or "", self._settings.limits))
        ):
            texts[Modality.ASR] = asr
        cover = attempt(Modality.COVER, lambda: self._cover(video))
        frames, shown = attempt(Modality.FRAMES, lambda: self._frames(video)) or ((), ())
        if self._is_lost(rejections):
            return Preparation(None, tuple(rejections))
        for modality, recognise in self._recognition.of(video, has_cover=cover is not None, shown=shown).items():
            if text := attempt(modality, recognise):
                texts[modality] = text
        if self._is_lost(rejections):
            return Preparation(None, tuple(rejections))
        if not texts and cover is None and not frames:
            rejections.append(Rejection(video.doc_id, None, "no_content", "nothing is known of this video but its id"))
            return Preparation(None, tuple(rejections))
        hashes = self._hashes(texts, cover, frames)
        return Preparation(PreparedVideo(video.doc_id, texts, cover, frames, hashes), tuple(rejections))

    def _is_lost(self, rejections: Sequence[Rejection]) -> bool:
        return bool(rejections) and self._settings.on_bad_media == "reject"

    def _cover(self, video: Video) -> bytes | None:
        return None if video.cover is None else self._picture(video.cover)

    def _frames(self, video: Video) -> tuple[tuple[bytes, ...], Sequence[str | UInt8]]:
        """Give the stored frames, and what they were made from: paths of pictures, or decoded pixels."""
        count = self._settings.num_frames
        if video.frames:
            listed = len(video.frames)
            chosen = [video.frames[(2 * i + 1) * listed // (2 * count)] for i in range(count)]
            pictures = {path: self._picture(path) for path in dict.fromkeys(chosen)}
            return tuple(pictures[path] for path in chosen), list(pictures)
        if video.video is None:
            return (), ()
        decoded = decode_frames(video.video, count, decoder=self._settings.decoder, limits=self._settings.limits)
        return tuple(self._jpeg(Image.fromarray(frame)) for frame in decoded.frames), decoded.frames

    def _picture(self, path: str) -> bytes:
        return self._jpeg(read_image(path, limits=self._settings.limits, size=self._settings.image_size))

    def _jpeg(self, image: Image.Image) -> bytes:
        return to_jpeg(to_square(image, self._settings.image_size, self._settings.fit), self._settings.jpeg_quality)

    def _hashes(
        self, texts: dict[Modality, str], cover: bytes | None, frames: tuple[bytes, ...]
    ) -> dict[Modality, str]:
        hashes = {m: hash_bytes(f"text {RECIPE_VERSION}".encode(), text.encode()) for m, text in texts.items()}
        if cover is not None:
            hashes[Modality.COVER] = hash_bytes(self._picture_recipe, cover)
        if frames:
            hashes[Modality.FRAMES] = hash_bytes(self._frames_recipe, *frames)
        return hashes
