"""Whisper (arXiv:2212.04356) by transformers, from any folder or hub name that holds one. It imports torch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from mmsearch.extras import require
from mmsearch.protocols import Float32, Segment
from mmsearch.recognition.speech.settings import RecogniserSettings, cannot_load, find_model
from mmsearch.torchvision_guard import guard_torchvision

_RATE = 16_000


class TransformersWhisperSettings(RecogniserSettings):
    """Whisper by transformers; the folder holds what `save_pretrained` of its model and processor writes."""

    type: Literal["transformers_whisper"] = "transformers_whisper"
    language: str | None = None
    """Language that is spoken, such as `zh`; null = the model tells."""

    def build(self) -> TransformersWhisper:
        """Give the recogniser; its model is loaded with the first sound."""
        return TransformersWhisper(self)


class TransformersWhisper:
    """Recognises speech by Whisper in transformers, sound longer than 30 s part after part."""

    def __init__(self, settings: TransformersWhisperSettings) -> None:
        self._settings = settings

    def transcribe(self, sound: Float32) -> list[Segment]:
        """Give the segments of mono sound at 16 kHz, [samples].

        Raises:
            MissingExtraError: transformers is not installed.
            ConfigError: the model cannot be loaded.
        """
        asked = {} if self._settings.language is None else {"language": self._settings.language, "task": "transcribe"}
        said = self._pipeline({"raw": sound, "sampling_rate": _RATE}, return_timestamps=True, generate_kwargs=asked)
        return [_segment(chunk, len(sound) / _RATE) for chunk in said["chunks"]]

    @cached_property
    def _pipeline(self) -> Any:
        model = find_model(self._settings.model)
        guard_torchvision()
        transformers = require("transformers", extra="train")
        try:
            return transformers.pipeline("automatic-speech-recognition", model=model, device=self._settings.device)
        except MemoryError:
            raise
        except Exception as error:  # OSError, ValueError, KeyError, and those of the hub
            raise cannot_load(model, error) from error


def _segment(chunk: Any, length_s: float) -> Segment:
    """Read a chunk: {"timestamp": (start, end or None where the sound ends within it), "text"}."""
    start, end = chunk["timestamp"]
    return Segment(float(start or 0.0), length_s if end is None else float(end), str(chunk["text"]))
