"""What a lent real clip says and shows, through the real recognisers: a talk with slides."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import VideoPreparer
from mmsearch.recognition.ocr import OcrSettings
from mmsearch.recognition.speech import FasterWhisperSettings
from mmsearch.types import Modality, Video

CLIP = Path("clips", "video", "v2d_test_video.mp4")
SMALL = PrepareSettings(num_frames=4, image_size=32)
pytestmark = pytest.mark.real_data


@pytest.fixture
def talk() -> Video:
    data = Path(os.environ.get("MMSEARCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (data / CLIP).is_file():
        pytest.skip("the lent clips are not here")
    return Video("talk", video=str(data / CLIP))


@pytest.mark.skipif(find_spec("rapidocr") is None, reason="rapidocr is not installed")
def test_slides_are_read(talk):
    settings = SMALL.model_copy(update={"ocr": OcrSettings(reader="rapidocr", max_frames=1)})
    lines = VideoPreparer(settings)(talk).video.texts[Modality.CONTENT_OCR].split("\n")
    assert lines[0] == "What"  # the slide's heading
    assert any("filtered with OpenAI CLIP" in line for line in lines)
    assert len(lines) == len(set(lines))


@pytest.mark.skipif(find_spec("faster_whisper") is None, reason="faster-whisper is not installed")
def test_speech_is_heard(talk):
    """Needs MMSEARCH_MODELS, a folder with `whisper` (CTranslate2 files) in it."""
    model = Path(os.environ.get("MMSEARCH_MODELS", "/nowhere")) / "whisper"
    if not model.is_dir():
        pytest.skip("no Whisper here; set MMSEARCH_MODELS")
    settings = SMALL.model_copy(update={"speech": FasterWhisperSettings(model=str(model), beam_size=1)})
    prepared = VideoPreparer(settings)(talk).video
    assert "image text pairs" in prepared.texts[Modality.ASR].lower(), json.dumps(prepared.texts)
