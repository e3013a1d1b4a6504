"""Augmentation: each switch alone against what it must do, drawn anew for every picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import AugmentSettings, augment

SIDE = 32
ALL = AugmentSettings(min_crop=0.5, max_stretch=1.5, flip=0.5, colour=0.4, grey=0.3, erase=0.4)


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)).byte()


def ramps(count: int) -> torch.Tensor:
    """Channel 0 is 4 times the column, channel 1 is 4 times the row: a crop of it tells where it was cut."""
    steps = 4 * torch.arange(SIDE).float()
    columns, rows = steps.expand(SIDE, SIDE), steps.unsqueeze(1).expand(SIDE, SIDE)
    return torch.stack([columns, rows, rows]).expand(count, -1, -1, -1)


def spans(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give width and height of the rectangles that were cut out of ramps, as shares; negative where mirrored."""
    middle = slice(SIDE // 2 - 1, SIDE // 2 + 1)  # away from the edges, where bilinear reading is exact
    across = pictures[:, 0, 0, middle].diff(dim=1)[:, 0]
    down = pictures[:, 1, middle, 0].diff(dim=1)[:, 0]
    return across / 4, down / 4


@pytest.mark.parametrize("pictures", [noise(3), noise(3).float()])
def test_by_default_nothing_changes_but_the_type(pictures):
    same = augment(pictures, AugmentSettings())
    assert same.dtype == torch.float32
    assert torch.equal(same, pictures.float())


def test_no_pictures_stay_no_pictures():
    assert augment(noise(0), ALL).shape == (0, 3, SIDE, SIDE)


def test_crops_have_the_sides_and_shapes_asked_for_and_lie_inside():
    torch.manual_seed(0)
    cropped = augment(ramps(400), AugmentSettings(min_crop=0.5, max_stretch=1.5))
    width, height = spans(cropped)
    assert (width * height).min() >= 0.25 - 1e-4
    assert max(width.max(), height.max()) <= 1 + 1e-4
    assert (width / height).max() == pytest.approx(1.5, rel=0.05)
    assert (width / height).min() == pytest.approx(1 / 1.5, rel=0.05)
    assert cropped.min() >= 0
    assert cropped.max() <= 4 * (SIDE - 1)
    assert cropped[:, 0, 0, 0].std() > 10  # at different places


def test_square_crops_are_even_between_the_shortest_side_and_the_whole():
    torch.manual_seed(0)
    width, height = spans(augment(ramps(800), AugmentSettings(min_crop=0.4)))
    torch.testing.assert_close(width, height, rtol=0, atol=1e-4)
    assert width.mean() == pytest.approx(0.7, abs=0.02)
    assert width.min() == pytest.approx(0.4, abs=0.01)


def test_mirrors_exactly_and_as_often_as_asked():
    pictures = noise(1).expand(1000, -1, -1, -1)
    torch.manual_seed(0)
    flipped = augment(pictures, AugmentSettings(flip=0.25))
    mirrored = torch.tensor([torch.allclose(one, pictures[0].float().flip(-1), atol=0.01) for one in flipped])
    as_before = torch.tensor([torch.allclose(one, pictures[0].float(), atol=0.01) for one in flipped])
    assert bool((mirrored ^ as_before).all())
    assert mirrored.float().mean() == pytest.approx(0.25, abs=0.05)


def test_grey_pictures_have_the_brightness_that_pil_gives_them():
    image = pytest.importorskip("PIL.Image")
    picture = noise(1)
    grey = augment(picture, AugmentSettings(grey=1.0))[0]
    expected = image.fromarray(picture[0].permute(1, 2, 0).numpy()).convert("L")
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])
    found = torch.frombuffer(bytearray(expected.tobytes()), dtype=torch.uint8).view(SIDE, SIDE).float()
    torch.testing.assert_close(grey[0], found, rtol=0, atol=1.0)


def test_colours_change_within_bounds_and_neither_order_nor_place():
    torch.manual_seed(0)
    evenly = torch.full((500, 3, SIDE, SIDE), 100.0)  # no contrast, no saturation: brightness alone is left
    levels = augment(evenly, AugmentSettings(colour=0.3))
    assert levels.amin() >= 70 - 1e-3
    assert levels.amax() <= 130 + 1e-3
    assert levels[:, 0, 0, 0].std() > 10
    torch.testing.assert_close(levels, levels[:, :1, :1, :1].expand_as(levels))
    rising = augment(ramps(50), AugmentSettings(colour=0.3))[:, 0].diff(dim=2)
    assert rising.min() >= 0


def test_one_square_is_erased_to_the_mean_colour():
    torch.manual_seed(0)
    pictures = noise(200)
    erased = augment(pictures, AugmentSettings(erase=0.5))
    hit = (erased != pictures.float()).any(1)
    means = pictures.float().mean((2, 3))
    for one, mask, mean in zip(erased, hit, means, strict=True):
        assert torch.allclose(one[:, mask], mean.unsqueeze(1))
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert max(rows, columns) <= SIDE // 2
        assert min(rows, columns) >= SIDE // 4 - 1  # a corner holds a quarter at least
    assert hit.sum((1, 2)).max() == (SIDE // 2) ** 2


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    min_crop=st.floats(0.05, 1),
    max_stretch=st.floats(1, 4),
    colour=st.floats(0, 0.99),
    erase=st.floats(0, 0.99),
)
def test_pixels_stay_between_0_and_255(seed, min_crop, max_stretch, colour, erase):
    torch.manual_seed(seed)
    chosen = AugmentSettings(min_crop=min_crop, max_stretch=max_stretch, flip=0.5, colour=colour, grey=0.5, erase=erase)
    changed = augment(noise(3, seed), chosen)
    assert changed.shape == (3, 3, SIDE, SIDE)
    assert changed.min() >= -1e-3
    assert changed.max() <= 255 + 1e-3


def test_every_picture_draws_its_own_and_the_same_seed_draws_the_same():
    pictures = noise(1).expand(16, -1, -1, -1)
    torch.manual_seed(5)
    first = augment(pictures, ALL)
    assert len({one.numpy().tobytes() for one in first}) == 16
    torch.manual_seed(5)
    assert torch.equal(augment(pictures, ALL), first)


def test_mixed_precision_moves_no_pixel():
    pictures = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    torch.manual_seed(0)
    expected = augment(pictures, ALL)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(augment(pictures, ALL), expected, rtol=0, atol=0)
