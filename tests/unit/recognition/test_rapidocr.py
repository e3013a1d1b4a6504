"""The real reader on pictures with text in them: Chinese, English, large, small, thin and blank ones."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from mmsearch.demo.lettering import caption, write_slogan
from mmsearch.errors import MissingExtraError
from mmsearch.recognition.ocr import OcrSettings, PictureText
from mmsearch.recognition.ocr.by_rapidocr import RapidOcrReader

needs_rapidocr = pytest.mark.skipif(find_spec("rapidocr") is None, reason="rapidocr is not installed")


@pytest.fixture(scope="module")
def reader() -> RapidOcrReader:
    return RapidOcrReader(min_side=240, max_side=640, max_boxes=50)


def cover(text: str, size: tuple[int, int] = (320, 240), colour: str = "#2f6f8f") -> Image.Image:
    image = Image.new("RGB", size, colour)
    write_slogan(image, text)
    return image


@needs_rapidocr
def test_chinese_and_english_and_where_they_stand(reader):
    image = cover("红色机器人")
    image.paste(layer := caption(image.size, "PURPLE ROBOT", "top"), mask=layer)
    boxes = sorted(reader.read(np.asarray(image)), key=lambda box: float(box.corners[0, 1]))
    assert [box.text.replace(" ", "") for box in boxes] == ["PURPLEROBOT", "红色机器人"]
    assert all(box.confidence > 0.9 and box.corners.shape == (4, 2) for box in boxes)
    assert boxes[0].corners[:, 1].max() < 60 < 180 < boxes[1].corners[:, 1].min()
    assert boxes[1].corners[:, 1].max() < 240


@needs_rapidocr
def test_corners_are_in_the_pixels_of_the_picture_whatever_its_size(reader):
    (large,) = reader.read(np.asarray(cover("PURPLE ROBOT", (1600, 1200))))
    (small,) = reader.read(np.asarray(cover("PURPLE ROBOT", (160, 120))))
    assert large.text.replace(" ", "") == small.text.replace(" ", "") == "PURPLEROBOT"
    assert np.abs(large.corners / 10 - small.corners).max() < 6


@needs_rapidocr
def test_blank_and_odd_pictures_hold_no_text(reader):
    for height, width in ((120, 160), (8, 3000), (3000, 9), (1, 1)):
        assert reader.read(np.full((height, width, 3), 90, np.uint8)) == []


@needs_rapidocr
def test_a_cover_through_the_settings():
    text = PictureText(OcrSettings(reader="rapidocr", min_side=240))
    assert text.read_cover(np.asarray(cover("蓝色飞船"))) == "蓝色飞船"


@pytest.mark.parametrize(
    "bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 4), np.uint8)]
)
def test_other_arrays_are_refused(reader, bad):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        reader.read(bad)


def test_without_the_library_the_pip_line_is_told(reader, monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    bare = RapidOcrReader(min_side=240, max_side=640, max_boxes=50)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[ocr\]'"):
        bare.read(np.zeros((64, 64, 3), np.uint8))
