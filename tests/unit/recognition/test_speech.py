"""Speech: what is given to a recogniser, what becomes of its segments, and of its failures."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from mmsearch.errors import ConfigError, MediaError, MissingExtraError
from mmsearch.protocols import Float32, Segment
from mmsearch.recognition.speech import (
    FasterWhisperSettings,
    FunAsrSettings,
    SoundText,
    SpeechSettings,
    TransformersWhisperSettings,
)
from mmsearch.recognition.speech.by_funasr import read_result

TONE = (np.sin(np.arange(32_000) / 9) / 3).astype(np.float32)  # 2 s
ALL = (FasterWhisperSettings, TransformersWhisperSettings, FunAsrSettings)


class Recogniser:
    def __init__(self, *segments: Segment | Exception) -> None:
        self.segments, self.heard = segments, 0

    def transcribe(self, sound: Float32) -> list[Segment]:
        self.heard += 1
        for segment in self.segments:
            if isinstance(segment, Exception):
                raise segment
        return list(self.segments)


def text(*segments: Segment | Exception, max_chars: int = 100) -> SoundText:
    return SoundText(Recogniser(*segments), max_chars=max_chars)


def test_segments_become_lines_in_time_order():
    said = (Segment(1.0, 1.5, " 然后  放盐\x17 "), Segment(0.0, 1.0, "so we begin"), Segment(1.5, 2.0, " \0 "))
    assert text(*said).read(TONE) == "so we begin\n然后 放盐"
    assert text(*said).segments(TONE) == [Segment(0.0, 1.0, "so we begin"), Segment(1.0, 1.5, "然后 放盐")]
    assert text(*said, max_chars=4).read(TONE) == "so w"
    assert text().read(TONE) is None


def test_nothing_is_said_after_the_end():
    said = (Segment(1.0, 30.0, "bye"), Segment(2.0, 4.0, "made up"))
    assert text(*said).segments(TONE) == [Segment(1.0, 2.0, "bye")]


def test_a_recogniser_that_repeats_itself_is_heard_once():
    looped = [Segment(n / 9, (n + 1) / 9, "thank you") for n in range(9)]
    said = [*looped, Segment(1.2, 1.4, "bye"), Segment(1.4, 1.6, "thank you")]
    assert text(*said).read(TONE) == "thank you\nbye\nthank you"


@pytest.mark.parametrize("sound", [TONE[:0], TONE[:1599], np.zeros(99_999, np.float32), TONE / 1000])
def test_silence_is_not_given_to_the_recogniser(sound):
    recogniser = Recogniser(Segment(0.0, 1.0, "made up"))
    assert SoundText(recogniser, max_chars=9).read(sound) is None
    assert recogniser.heard == 0


def test_what_a_recogniser_raises_becomes_a_reason():
    with pytest.raises(MediaError, match="speech_failed: RuntimeError: bad state"):
        text(RuntimeError("bad state")).read(TONE)
    for error in (MissingExtraError("install it"), ConfigError("no model"), MemoryError()):
        with pytest.raises(type(error)):
            text(error).read(TONE)


def test_settings_are_told_apart_by_their_type():
    adapter: TypeAdapter[Any] = TypeAdapter(SpeechSettings)
    assert adapter.validate_python({"model": "base"}) == FasterWhisperSettings(model="base")
    for kind in ALL:
        settings = kind(model="some/name")
        assert adapter.validate_python(settings.model_dump()) == settings
        assert len(pickle.dumps(settings.build())) < 2000
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": "faster_whisper"})


@pytest.mark.parametrize("kind", ALL)
def test_a_folder_that_is_not_there_is_told_before_anything_is_imported(kind, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for module in ("faster_whisper", "transformers", "funasr"):
        monkeypatch.setitem(sys.modules, module, None)
    for model in ("/absent/model", "./absent", "~/absent/model", str(tmp_path / "file")):
        with pytest.raises(ConfigError, match=r"speech\.model: .*: no such folder; give the folder"):
            kind(model=model).build().transcribe(TONE)
    with pytest.raises(MissingExtraError, match=r"pip install ('mmsearch\[(speech|train)\]'|funasr)"):
        kind(model=str(tmp_path)).build().transcribe(TONE)


def test_a_folder_that_holds_no_model_is_told(tmp_path):
    pytest.importorskip("faster_whisper")
    sounds = SoundText(FasterWhisperSettings(model=str(tmp_path)).build(), max_chars=9)
    with pytest.raises(ConfigError, match=r"cannot be loaded .* give its folder, as in: speech\.model=/"):
        sounds.read(TONE)


def test_funasr_results():
    timed = {
        "text": "x",
        "sentence_info": [
            {"start": 500, "end": 1250, "sentence": "<|zh|><|NEUTRAL|>大家好。", "spk": 0},
            {"start": 1250, "end": 2000, "text": "welcome back"},
        ],
    }
    assert list(read_result(timed, 2.0)) == [Segment(0.5, 1.25, "大家好。"), Segment(1.25, 2.0, "welcome back")]
    plain = {"text": "<|en|><|HAPPY|><|Speech|><|withitn|>so we < begin"}
    assert list(read_result(plain, 2.0)) == [Segment(0.0, 2.0, "so we < begin")]
    assert list(read_result({"key": "k", "text": ""}, 2.0)) == [Segment(0.0, 2.0, "")]


def test_funasr_is_called_as_its_documentation_says(monkeypatch, tmp_path):
    """Against a stand-in for the library, which needs models that cannot be had in tests."""
    asked: dict[str, Any] = {}

    class AutoModel:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def generate(self, **options: Any) -> list[dict[str, Any]]:
            asked.update(options)
            return [{"text": "<|zh|>你好"}]

    library = ModuleType("funasr")
    library.AutoModel = AutoModel
    monkeypatch.setitem(sys.modules, "funasr", library)
    said = FunAsrSettings(model=str(tmp_path), vad_model=None, language="zh").build().transcribe(TONE)
    assert said == [Segment(0.0, 2.0, "你好")]
    assert asked["model"] == str(tmp_path)
    assert "vad_model" not in asked
    assert (asked["fs"], asked["language"], asked["input"] is TONE) == (16_000, "zh", True)


def test_faster_whisper_with_a_real_model():
    """Needs MMSEARCH_MODELS, a folder with `whisper` (CTranslate2 files) in it."""
    folder = Path(os.environ.get("MMSEARCH_MODELS", "/nowhere")) / "whisper"
    if not folder.is_dir() or importlib.util.find_spec("faster_whisper") is None:
        pytest.skip("no Whisper here; set MMSEARCH_MODELS")
    assert SoundText(FasterWhisperSettings(model=str(folder), beam_size=1).build(), max_chars=99).read(TONE) is None


def test_segments_of_faster_whisper(monkeypatch, tmp_path):
    """Its segments are a generator, and work is done while it runs: what it raises then is caught as well."""

    class WhisperModel:
        def __init__(self, model: str, **options: Any) -> None:
            assert (model, options["cpu_threads"]) == (str(tmp_path), 1)

        def transcribe(self, sound: Float32, **options: Any) -> Any:
            def work():
                yield SimpleNamespace(start=0.5, end=1.0, text=" hello")
                if options["language"] == "xx":
                    raise ValueError("no such language")

            return work(), SimpleNamespace(language="en")

    library = ModuleType("faster_whisper")
    library.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", library)
    settings = FasterWhisperSettings(model=str(tmp_path))
    assert SoundText(settings.build(), max_chars=9).segments(TONE) == [Segment(0.5, 1.0, "hello")]
    with pytest.raises(MediaError, match="speech_failed: ValueError: no such language"):
        SoundText(settings.model_copy(update={"language": "xx"}).build(), max_chars=9).read(TONE)
