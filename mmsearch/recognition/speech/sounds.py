"""The words of a sound."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category

import numpy as np

from mmsearch.errors import ConfigError, MediaError, MissingExtraError
from mmsearch.protocols import Float32, Segment, Transcriber

_RATE = 16_000
_SHORTEST = _RATE // 10
_QUIET = 1e-3  # of full scale: -60 dB, the noise of an unused track


class SoundText:
    """Reads sounds by one recogniser; it can be sent to a worker, where the model is loaded.

    Args:
        transcriber: what recognises speech.
        max_chars: characters of a transcript that are kept.
    """

    def __init__(self, transcriber: Transcriber, *, max_chars: int) -> None:
        self._transcriber, self._max_chars = transcriber, max_chars

    def read(self, sound: Float32) -> str | None:
        """Give the words of mono sound at 16 kHz, a segment a line; None = nothing is said in it.

        Raises: as `segments`.
        """
        return self.text_of(self.segments(sound))

    def text_of(self, segments: Iterable[Segment]) -> str | None:
        """Give the words of segments, one a line, up to the bound; None = there are none."""
        lines = "\n".join(segment.text for segment in segments)
        return lines[: self._max_chars].strip() or None

    def segments(self, sound: Float32) -> list[Segment]:
        """Give what is said, in time order.

        Empty and repeated segments are left out, and those that begin after the end of the sound (Whisper pads it to
        30 s); blanks and control characters become one blank. Sound of less than 0.1 s or below -60 dB
        throughout is silence, and not given to the recogniser (Whisper makes up words in silence).

        Raises:
            MediaError: `speech_failed`, with what the recogniser said.
            MissingExtraError: the recogniser's library is not installed.
            ConfigError: its model cannot be loaded.
        """
        if len(sound) < _SHORTEST or float(np.abs(sound).max()) < _QUIET:
            return []
        try:
            return _tidy(self._transcriber.transcribe(sound), len(sound) / _RATE)
        except (ConfigError, MissingExtraError, MemoryError):
            raise
        except Exception as error:  # whatever the recogniser's libraries raise belongs to this sound alone
            raise MediaError("speech_failed", f"{type(error).__name__}: {error}") from error


def _tidy(segments: Iterable[Segment], length_s: float) -> list[Segment]:
    kept: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.start_s, s.end_s)):
        text = " ".join("".join(" " if category(c) == "Cc" else c for c in segment.text).split())
        if text and segment.start_s < length_s and (not kept or text != kept[-1].text):
            kept.append(Segment(segment.start_s, min(segment.end_s, length_s), text))
    return kept
