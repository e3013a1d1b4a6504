"""FunASR: SenseVoice, Paraformer and its other models, strong in Chinese. It imports torch."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from mmsearch.errors import MissingExtraError
from mmsearch.protocols import Float32, Segment
from mmsearch.recognition.speech.settings import RecogniserSettings, cannot_load, find_model

_RATE = 16_000
_BATCH_S = 60
#: SenseVoice marks language, mood and events: <|zh|><|NEUTRAL|><|Speech|><|withitn|>.
_TAG = re.compile(r"<\|[^|<>]{0,40}\|>")


class FunAsrSettings(RecogniserSettings):
    """A model of FunASR, such as `iic/SenseVoiceSmall`."""

    type: Literal["funasr"] = "funasr"
    language: str = "auto"
    """Language that is spoken: `auto`, `zh`, `en`, `yue`, `ja`, `ko`."""
    vad_model: str | None = "fsmn-vad"
    """Folder or name of the model that cuts long sound where nobody speaks; null = none."""

    def build(self) -> FunAsr:
        """Give the recogniser; its models are loaded with the first sound."""
        return FunAsr(self)


class FunAsr:
    """Recognises speech by FunASR."""

    def __init__(self, settings: FunAsrSettings) -> None:
        self._settings = settings

    def transcribe(self, sound: Float32) -> list[Segment]:
        """Give the segments of mono sound at 16 kHz, [samples].

        A model that gives no times for its sentences gives one segment for the whole sound.

        Raises:
            MissingExtraError: FunASR is not installed.
            ConfigError: a model cannot be loaded.
        """
        results = self._model.generate(
            input=sound, fs=_RATE, language=self._settings.language, use_itn=True, batch_size_s=_BATCH_S
        )
        return [segment for result in results for segment in read_result(result, len(sound) / _RATE)]

    @cached_property
    def _model(self) -> Any:
        settings = self._settings
        model = find_model(settings.model)
        cutter = {} if settings.vad_model is None else {"vad_model": find_model(settings.vad_model)}
        try:
            library = importlib.import_module("funasr")
        except ModuleNotFoundError as error:
            line = "pip install funasr torchaudio"
            raise MissingExtraError(f"this needs the library 'funasr', which is absent; install it with: {line}") from (
                error
            )
        try:
            return library.AutoModel(
                model=model, device=settings.device, disable_update=True, disable_pbar=True, ncpu=1, **cutter
            )
        except MemoryError:
            raise
        except Exception as error:  # whatever its registry and hub raise
            raise cannot_load(model, error) from error


def read_result(result: Mapping[str, Any], length_s: float) -> Iterator[Segment]:
    """Read what `generate` gives for one sound: sentences with times in milliseconds, or the text alone.

    Args:
        result: {"text", and of some models "sentence_info": [{"start", "end", "text" or "sentence"}]}.
        length_s: length of the sound.
    """
    for sentence in result.get("sentence_info") or ():
        text = sentence.get("text") or sentence.get("sentence") or ""
        yield Segment(sentence["start"] / 1000, sentence["end"] / 1000, _TAG.sub("", text))
    if not result.get("sentence_info"):
        yield Segment(0.0, length_s, _TAG.sub("", result.get("text") or ""))
