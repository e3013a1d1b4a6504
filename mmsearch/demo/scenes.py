"""The places of the world, drawn as backgrounds: each has its own layout, palette and texture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
#: Backgrounds are drawn on this canvas and then scaled: x runs to 320, y to 240.
_WIDTH, _HEIGHT = 320, 240


def background(scene: str, size: tuple[int, int], chance: Random) -> Image.Image:
    """Draw a place; two of the same place differ in horizon, light and detail.

    Args:
        scene: a value of the attribute SCENE.
        size: width and height of the picture in pixels.
        chance: where the differences come from.
    """
    image = _SCENES[scene](chance)
    if chance.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _lit(image, chance).resize(size, Image.Resampling.LANCZOS)


def _lit(image: Image.Image, chance: Random) -> Image.Image:
    """Change the light a little and add grain, as a camera would."""
    tables = [[min(255, round(level * light)) for level in range(256)] for light in _lights(chance)]
    pixels = np.asarray(image.point([level for table in tables for level in table]), dtype=np.int16)
    grain = np.random.RandomState(chance.getrandbits(32)).randint(-8, 9, (_HEIGHT, _WIDTH, 1), dtype=np.int16)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _lights(chance: Random) -> list[float]:
    """Give the brightness of red, green and blue light."""
    return [chance.uniform(0.9, 1.06) for _ in range(3)]


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, _HEIGHT)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(np.broadcast_to(rows, (_HEIGHT, _WIDTH, 3)).astype(np.uint8))


def _beach(chance: Random) -> Image.Image:
    image = _gradient((150, 214, 244), (226, 244, 250))
    draw = ImageDraw.Draw(image)
    sea, sand, sun = chance.randint(74, 98), chance.randint(136, 160), chance.randint(30, 290)
    draw.ellipse((sun - 20, 12, sun + 20, 52), (255, 240, 170))
    draw.rectangle((0, sea, _WIDTH, sand), (64, 172, 196))
    for y in range(sea + 8, sand - 6, 12):
        for x in range(-20, _WIDTH, 40):
            shift = chance.randint(0, 18)
            draw.arc((x + shift, y, x + shift + 22, y + 8), 180, 360, (205, 240, 244), 2)
    draw.polygon(
        [(0, sand + 6), (80, sand - 6), (200, sand + 4), (_WIDTH, sand - 6), (_WIDTH, 240), (0, 240)], (238, 214, 160)
    )
    for _ in range(130):
        x, y = chance.randint(0, _WIDTH), chance.randint(sand + 8, _HEIGHT)
        draw.ellipse((x, y, x + 3, y + 2), (214, 184, 126))
    return image


def _snow(chance: Random) -> Image.Image:
    image = _gradient((176, 196, 220), (236, 241, 248))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        peak, top, wide = chance.randint(20, 300), chance.randint(24, 76), chance.randint(90, 140)
        draw.polygon([(peak - wide, 190), (peak, top), (peak + wide, 190)], (128, 146, 172))
        cap = wide * 34 // (190 - top)
        draw.polygon([(peak - cap, top + 34), (peak, top), (peak + cap, top + 34), (peak, top + 24)], (252, 253, 255))
    draw.ellipse((-120, 160, 240, 330), (246, 249, 253))
    draw.ellipse((100, 150, 460, 340), (230, 237, 246))
    for _ in range(90):
        x, y, r = chance.randint(0, _WIDTH), chance.randint(0, _HEIGHT), chance.randint(1, 3)
        draw.ellipse((x - r, y - r, x + r, y + r), (255, 255, 255))
    return image


def _forest(chance: Random) -> Image.Image:
    image = _gradient((178, 206, 156), (98, 134, 84))
    draw = ImageDraw.Draw(image)
    for depth, colour in enumerate(((92, 124, 84), (66, 98, 64), (44, 72, 48))):
        ground = 150 + depth * 34
        for x in range(-10, _WIDTH + 30, 44 + depth * 12):
            middle, height = x + chance.randint(-10, 10), chance.randint(84, 120) + depth * 20
            draw.rectangle((middle - 4, ground - 20, middle + 4, ground + 12), (88, 66, 48))
            for step in range(3):
                top = ground - height + step * height // 5
                reach = 12 + step * 8 + depth * 3
                draw.polygon(
                    [(middle - reach, top + height // 2), (middle, top), (middle + reach, top + height // 2)], colour
                )
    draw.rectangle((0, 214, _WIDTH, _HEIGHT), (70, 92, 50))
    for _ in range(70):
        x = chance.randint(0, _WIDTH)
        draw.line((x, 222, x + chance.randint(-5, 5), 208), (118, 146, 78), 2)
    return image


def _city(chance: Random) -> Image.Image:
    image = _gradient((206, 202, 208), (238, 226, 214))
    draw = ImageDraw.Draw(image)
    x = -10
    while x < _WIDTH:
        wide, top, grey = chance.randint(38, 62), chance.randint(18, 110), chance.randint(104, 158)
        draw.rectangle((x, top, x + wide, 206), (grey, grey - 4, grey + 6), (84, 84, 92))
        for row in range(top + 8, 196, 16):
            for column in range(x + 6, x + wide - 9, 14):
                lit = chance.random() < 0.5
                draw.rectangle((column, row, column + 7, row + 9), (250, 236, 190) if lit else (82, 88, 104))
        x += wide + chance.randint(0, 8)
    draw.rectangle((0, 204, _WIDTH, _HEIGHT), (74, 74, 80))
    for dash in range(chance.randint(-30, 0), _WIDTH, 54):
        draw.rectangle((dash, 220, dash + 28, 225), (240, 240, 236))
    return image


def _kitchen(chance: Random) -> Image.Image:
    image = Image.new("RGB", (_WIDTH, _HEIGHT), (246, 232, 208))
    draw = ImageDraw.Draw(image)
    tile, counter = chance.choice((30, 34, 38)), chance.randint(164, 182)
    for row, y in enumerate(range(0, counter, tile)):
        for column, x in enumerate(range(0, _WIDTH, tile)):
            colour = (228, 190, 150) if (row + column) % 2 else (250, 238, 216)
            draw.rectangle((x, y, x + tile, y + tile), colour, (206, 176, 140))
    for _ in range(3):
        x = chance.randint(10, 290)
        draw.line((x, 0, x, 44), (96, 80, 70), 4)
        draw.ellipse((x - 11, 40, x + 11, 66), (96, 80, 70))
    draw.rectangle((0, counter, _WIDTH, counter + 14), (166, 118, 82))
    draw.rectangle((0, counter + 14, _WIDTH, _HEIGHT), (126, 86, 60))
    for x in range(chance.randint(-60, 0), _WIDTH, 84):
        draw.rectangle((x + 6, counter + 22, x + 76, _HEIGHT + 4), (146, 102, 70), (98, 66, 46), 2)
    return image


def _space(chance: Random) -> Image.Image:
    image = _gradient((12, 14, 38), (44, 32, 72))
    draw = ImageDraw.Draw(image)
    x, y, r = chance.randint(30, 290), chance.randint(24, 90), chance.randint(18, 34)
    draw.ellipse((x - r, y - r, x + r, y + r), (176, 166, 150))
    draw.ellipse((x - r // 2, y - r // 3, x, y + r // 8), (146, 136, 124))
    draw.arc((x - 2 * r, y - r // 2, x + 2 * r, y + r // 2), 0, 360, (206, 198, 186), 3)
    for _ in range(150):
        x, y, r = chance.randint(0, _WIDTH), chance.randint(0, _HEIGHT), chance.choice((1, 1, 1, 2))
        draw.ellipse((x - r, y - r, x + r, y + r), chance.choice(((255, 255, 255), (255, 244, 200), (190, 210, 255))))
    return image


_SCENES: Mapping[str, Callable[[Random], Image.Image]] = {
    "beach": _beach,
    "snow": _snow,
    "forest": _forest,
    "city": _city,
    "kitchen": _kitchen,
    "space": _space,
}
