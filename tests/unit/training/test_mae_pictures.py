"""The sheet of original, masked and rebuilt covers."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmsearch.encoders.mae import MaePictures
from training.mae_pictures import write_pictures


def pictures(count, side):
    torch.manual_seed(0)
    return MaePictures(*(torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8) for _ in range(3)))


def pixels_of(path):
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        return np.asarray(sheet.convert("RGB"))


@pytest.mark.parametrize(("side", "times"), [(96, 1), (32, 3), (40, 3), (130, 1)])
def test_each_row_holds_a_cover_three_times(tmp_path, side, times):
    shown = pictures(3, side)
    path = tmp_path / "new" / "mae.png"
    write_pictures(path, shown, limit=2)
    sheet, step = pixels_of(path), side * times + 2
    assert sheet.shape == (16 + 2 + 2 * step, 2 + 3 * step, 3)
    for column, squares in enumerate((shown.original, shown.masked, shown.rebuilt)):
        for row in range(2):
            top, left = 18 + row * step, 2 + column * step
            square = sheet[top : top + side * times : times, left : left + side * times : times]
            assert np.array_equal(square, squares[row].permute(1, 2, 0).numpy())
    assert (sheet[16:18] == 255).all()
    assert (sheet[16:, :2] == 255).all()
    for column in range(3):
        assert (sheet[:16, 2 + column * step : 2 + column * step + 60] < 128).any()  # its caption
    assert [p.name for p in path.parent.iterdir()] == ["mae.png"]


def test_a_sheet_replaces_the_one_before_it(tmp_path):
    path = tmp_path / "mae.png"
    write_pictures(path, pictures(2, 96))
    write_pictures(path, pictures(0, 96))
    assert pixels_of(path).shape == (18, 296, 3)
