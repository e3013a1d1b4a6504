"""Text, picture and frame towers at tiny sizes."""

import pytest
import torch

from mmsearch.encoders import FrameTower, ImageTower, TextTower
from mmsearch.encoders.text.transformer import evenly_spaced_layers
from mmsearch.errors import ConfigError

TINY = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def text_tower(depth=4):
    torch.manual_seed(0)
    return TextTower(50, width=16, depth=depth, heads=2, max_length=8)


@pytest.mark.parametrize(
    ("total", "kept", "expected"),
    [(12, 3, [3, 7, 11]), (12, 6, [1, 3, 5, 7, 9, 11]), (12, 12, list(range(12))), (5, 2, [1, 4]), (3, 1, [2])],
)
def test_student_layers_are_evenly_spaced_and_end_with_the_last(total, kept, expected):
    assert evenly_spaced_layers(total, kept) == expected


def test_student_copies_the_teachers_layers_and_is_free_of_them():
    teacher = text_tower()
    student = teacher.evenly_spaced(2)
    assert student.depth == 2
    for mine, theirs in zip(student.transformer.blocks, (1, 3), strict=True):
        torch.testing.assert_close(mine.qkv.weight, teacher.transformer.blocks[theirs].qkv.weight)
    with torch.no_grad():
        student.embed.weight.zero_()
    assert teacher.embed.weight.abs().sum() > 0


def test_a_student_deeper_than_its_teacher_is_refused():
    with pytest.raises(ConfigError, match="5 layers cannot be taken from a teacher of 4"):
        text_tower().evenly_spaced(5)


def test_text_padding_does_not_leak():
    tower = text_tower().eval()
    ids, mask = torch.randint(0, 50, (2, 4)), torch.ones(2, 4, dtype=torch.bool)
    short = tower(ids, mask)
    more = torch.cat([ids, torch.randint(0, 50, (2, 3))], 1)
    long = tower(more, torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1))
    torch.testing.assert_close(long[:, :4], short)


def test_image_tower_normalises_pixels_and_gives_tokens():
    tower = ImageTower("vit_tiny_patch16_224", image_size=32, **TINY).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = tower(pixels)
    assert tokens.shape == (2, 17, 16)
    assert tower.pool(tokens).shape == (2, 16)
    torch.testing.assert_close(tower(pixels.float()), tokens)


def test_regions_average_their_patches():
    tower = ImageTower("vit_tiny_patch16_224", image_size=32, **TINY).eval()
    tokens = torch.randn(1, 17, 16)
    patches = tokens[0, 1:].view(4, 4, 16)
    grid = tower.grid(tokens, 2)
    torch.testing.assert_close(grid[0, 1], patches[:2, 2:].reshape(4, 16).mean(0))
    torch.testing.assert_close(tower.grid(tokens, 4)[0], tokens[0, 1:])


def test_an_unknown_or_convolutional_image_tower_is_refused():
    with pytest.raises(ConfigError, match="nosuchnet"):
        ImageTower("nosuchnet", image_size=32)
    with pytest.raises(ConfigError, match="resnet10t"):
        ImageTower("resnet10t", image_size=32)


def test_frames_see_each_other_and_not_what_is_missing():
    torch.manual_seed(0)
    tower = FrameTower(16, depth=1, heads=2, max_frames=6).eval()
    frames, mask = torch.randn(2, 4, 16), torch.tensor([[True, True, True, False]] * 2)
    dirty = frames.clone()
    dirty[:, 3] = float("nan")
    torch.testing.assert_close(tower(dirty, mask)[:, :3], tower(frames, mask)[:, :3])
    changed = frames.clone()
    changed[:, 2] = torch.randn(2, 16)
    assert not torch.allclose(tower(changed, mask)[:, 0], tower(frames, mask)[:, 0])


def test_a_video_without_frames_is_finite():
    tower = FrameTower(16, depth=1, heads=2, max_frames=6).eval()
    assert torch.isfinite(tower(torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool))).all()
