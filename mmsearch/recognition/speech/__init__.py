"""Speech: recognisers behind one protocol, chosen by `type`."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.recognition.speech.by_faster_whisper import FasterWhisperSettings
from mmsearch.recognition.speech.by_funasr import FunAsrSettings
from mmsearch.recognition.speech.by_transformers import TransformersWhisperSettings
from mmsearch.recognition.speech.settings import RecogniserSettings
from mmsearch.recognition.speech.sounds import SoundText

SpeechSettings = Annotated[
    Annotated[FasterWhisperSettings, Tag("faster_whisper")]
    | Annotated[TransformersWhisperSettings, Tag("transformers_whisper")]
    | Annotated[FunAsrSettings, Tag("funasr")],
    by_type("faster_whisper"),
]

__all__ = [
    "FasterWhisperSettings",
    "FunAsrSettings",
    "RecogniserSettings",
    "SoundText",
    "SpeechSettings",
    "TransformersWhisperSettings",
]
