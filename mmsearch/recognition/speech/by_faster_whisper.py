"""faster-whisper: Whisper (arXiv:2212.04356) in CTranslate2, quick on a CPU in 8 bits."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from mmsearch.extras import require
from mmsearch.protocols import Float32, Segment
from mmsearch.recognition.speech.settings import RecogniserSettings, cannot_load, find_model

#: Sampling temperatures, each tried when what the one before gave looks wrong (repetitive or improbable). The library's
#: six make sound that is no clear speech cost many times what speech costs.
_TEMPERATURES = (0.0, 0.4, 0.8)


class FasterWhisperSettings(RecogniserSettings):
    """Whisper by faster-whisper; the folder holds `model.bin`, `config.json` and `tokenizer.json` of CTranslate2."""

    type: Literal["faster_whisper"] = "faster_whisper"
    language: str | None = None
    """Language that is spoken, such as `zh`; null = told from the first 30 seconds."""
    compute_type: str = "int8"
    """Numbers that it computes with: `int8`, `float32`, or on a GPU `float16`."""
    beam_size: int = Field(5, ge=1, le=20)
    """Wordings that are followed at a time; 1 is quickest."""
    skip_silence: bool = True
    """Leave out what holds no speech (Silero VAD), where Whisper tends to make words up."""

    def build(self) -> FasterWhisper:
        """Give the recogniser; its model is loaded with the first sound."""
        return FasterWhisper(self)


class FasterWhisper:
    """Recognises speech by faster-whisper, on one thread."""

    def __init__(self, settings: FasterWhisperSettings) -> None:
        self._settings = settings

    def transcribe(self, sound: Float32) -> list[Segment]:
        """Give the segments of mono sound at 16 kHz, [samples].

        Raises:
            MissingExtraError: faster-whisper is not installed.
            ConfigError: the model cannot be loaded.
        """
        segments, _ = self._model.transcribe(
            sound,
            language=self._settings.language,
            beam_size=self._settings.beam_size,
            vad_filter=self._settings.skip_silence,
            condition_on_previous_text=False,  # else a repetition goes on for good
            temperature=_TEMPERATURES,
        )
        return [Segment(float(s.start), float(s.end), str(s.text)) for s in segments]  # the work is done here

    @cached_property
    def _model(self) -> Any:
        model = find_model(self._settings.model)
        library = require("faster_whisper", extra="speech")
        try:
            return library.WhisperModel(
                model,
                device=self._settings.device,
                compute_type=self._settings.compute_type,
                cpu_threads=1,
            )
        except MemoryError:
            raise
        except Exception as error:  # RuntimeError, ValueError, OSError, and those of the hub
            raise cannot_load(model, error) from error
