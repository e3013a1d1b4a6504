"""The text of covers and frames, with a reader that looks its answer up."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mmsearch.config import load_settings
from mmsearch.errors import ConfigError, MediaError, MissingExtraError
from mmsearch.protocols import TextBox, UInt8
from mmsearch.recognition.ocr import OcrSettings, PictureText, spread

CORNERS = np.array([(10, 10), (90, 10), (90, 30), (10, 30)], np.float32)


class Reader:
    """Reads the brightness of the picture's corner as an index into texts; an exception among them is raised."""

    def __init__(self, *texts: str | Exception, confidence: float = 0.9) -> None:
        self.texts, self.confidence, self.calls = texts, confidence, 0

    def read(self, picture: UInt8) -> list[TextBox]:
        self.calls += 1
        text = self.texts[int(picture[0, 0, 0]) // 20]
        if isinstance(text, Exception):
            raise text
        return [
            TextBox(CORNERS + np.float32([0, 40 * n]), part, self.confidence) for n, part in enumerate(text.split("|"))
        ]


def picture(number: int) -> UInt8:
    return np.full((240, 320, 3), 20 * number, np.uint8)


def test_a_cover_gives_its_lines():
    reader = Reader("红烧肉|done in 30 min")
    assert PictureText(OcrSettings(), reader).read_cover(picture(0)) == "红烧肉\ndone in 30 min"
    assert PictureText(OcrSettings(max_chars=5), reader).read_cover(picture(0)) == "红烧肉\nd"
    assert PictureText(OcrSettings(min_confidence=0.95), reader).read_cover(picture(0)) is None
    assert PictureText(OcrSettings(min_height=0.1), reader).read_cover(picture(0)) is None


def test_frames_are_merged_in_time_order():
    text = PictureText(OcrSettings(), Reader("LOGO|first", "LOGO|second", "LOGO"))
    assert text.read_frames([picture(0), picture(1), picture(2), picture(0)]) == "LOGO\nfirst\nsecond"
    assert text.read_frames([]) is None


def test_a_still_picture_is_read_once_in_spite_of_compression():
    reader, chance = Reader("a slide"), np.random.default_rng(0)
    still = [np.clip(picture(0) + chance.integers(0, 8, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(5)]
    assert PictureText(OcrSettings(), reader).read_frames(still) == "a slide"
    assert reader.calls == 1
    changed = still[0].copy()
    changed[200:220, 100:180] = 255  # a small caption
    PictureText(OcrSettings(), reader).read_frames([still[0], changed])
    assert reader.calls == 3


def test_what_a_reader_raises_becomes_a_reason():
    with pytest.raises(MediaError, match="ocr_failed: ValueError: bad tensor"):
        PictureText(OcrSettings(), Reader(ValueError("bad tensor"))).read_cover(picture(0))
    for error in (MissingExtraError("install it"), MemoryError()):
        with pytest.raises(type(error)):
            PictureText(OcrSettings(), Reader(error)).read_frames([picture(0)])


def test_it_travels_to_a_worker():
    assert len(pickle.dumps(PictureText(OcrSettings(reader="rapidocr")))) < 5000


def test_settings():
    assert OcrSettings.model_validate("rapidocr") == OcrSettings(reader="rapidocr")
    assert not load_settings(OcrSettings).is_on
    with pytest.raises(ConfigError, match="min_hight: no such setting; did you mean 'min_height'"):
        load_settings(OcrSettings, None, ["min_hight=0.1"])


def test_spread():
    assert spread(range(8), 4) == [1, 3, 5, 7]
    assert spread(range(3), 4) == [0, 1, 2]
    assert spread([], 4) == []
