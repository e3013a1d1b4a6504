"""The objects of the world, drawn as stickers: big flat shapes of one colour with a dark line and a white rim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
#: (main, dark, light) shades of a colour.
Shades = tuple[Colour, Colour, Colour]

#: Side of the square that a sprite is drawn in; the shapes below count in hundredths of it.
SIDE = 192
_OVERSAMPLED = 3 * SIDE
_MARGIN = 8

_INK: Colour = (32, 30, 42)
_WHITE: Colour = (255, 255, 255)
_GREY: Colour = (148, 156, 172)

COLOURS: Mapping[str, Colour] = {
    "red": (224, 32, 40),
    "yellow": (250, 206, 20),
    "green": (24, 160, 66),
    "blue": (32, 96, 236),
    "purple": (130, 46, 196),
    "pink": (255, 128, 186),
}


class Pen:
    """Draws shapes with a dark line, in hundredths of the canvas."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._unit = image.width / 100
        self._line = round(2.4 * self._unit)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """An ellipse by its centre and radii."""
        self._draw.ellipse(self._scaled(x - rx, y - ry, x + rx, y + ry), fill, _INK, self._line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 4) -> None:
        """A box with round corners."""
        self._draw.rounded_rectangle(
            self._scaled(x0, y0, x1, y1), radius * self._unit, fill, outline=_INK, width=self._line
        )

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        """A closed polygon."""
        scaled = self._scaled(*(c for point in points for c in point))
        self._draw.polygon(scaled, fill)
        self._draw.line([*scaled, *scaled[:4]], _INK, self._line, joint="curve")

    def line(self, points: list[tuple[float, float]], width: float, fill: Colour = _INK) -> None:
        """An open line."""
        scaled = self._scaled(*(c for point in points for c in point))
        self._draw.line(scaled, fill, round(width * self._unit), joint="curve")

    def arc(self, x: float, y: float, r: float, degrees: tuple[float, float], width: float, fill: Colour) -> None:
        """Part of a circle, drawn clockwise from 3 o'clock."""
        self._draw.arc(self._scaled(x - r, y - r, x + r, y + r), *degrees, fill, round(width * self._unit))

    def pie(self, x: float, y: float, r: float, degrees: tuple[float, float], fill: Colour) -> None:
        """A slice of a disc."""
        self._draw.pieslice(self._scaled(x - r, y - r, x + r, y + r), *degrees, fill, _INK, self._line)

    def _scaled(self, *numbers: float) -> list[float]:
        return [number * self._unit for number in numbers]


def _ball(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.ellipse(50, 50, 40, 40, main)
    pen.ellipse(50, 50, 16, 40, _WHITE)
    pen.ellipse(50, 50, 9, 40, main)
    pen.ellipse(50, 15, 7, 5, dark)
    pen.ellipse(28, 32, 5, 8, light)


def _car(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.polygon([(22, 50), (34, 26), (68, 26), (82, 50)], main)
    pen.polygon([(31, 48), (38, 32), (49, 32), (49, 48)], (206, 236, 250))
    pen.polygon([(54, 48), (54, 32), (65, 32), (73, 48)], (206, 236, 250))
    pen.box(6, 47, 94, 73, main, 8)
    pen.box(6, 63, 94, 73, dark, 5)
    pen.ellipse(89, 56, 4, 4, light)
    for x in (27, 73):
        pen.ellipse(x, 74, 13, 13, (50, 50, 58))
        pen.ellipse(x, 74, 5, 5, _GREY)


def _fish(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.polygon([(34, 50), (6, 26), (12, 50), (6, 74)], dark)
    pen.polygon([(44, 30), (58, 10), (70, 30)], dark)
    pen.ellipse(58, 50, 36, 26, main)
    pen.ellipse(56, 60, 18, 9, light)
    pen.polygon([(50, 48), (38, 58), (52, 60)], dark)
    pen.ellipse(78, 43, 7, 7, _WHITE)
    pen.ellipse(80, 43, 3, 3, _INK)


def _kite(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.line([(50, 70), (58, 80), (46, 88), (54, 98)], 3)
    for x, y in ((57, 80), (48, 89)):
        pen.polygon([(x - 8, y - 5), (x + 8, y + 5), (x + 8, y - 5), (x - 8, y + 5)], main)
    pen.polygon([(50, 4), (88, 34), (50, 76), (12, 34)], main)
    pen.polygon([(50, 4), (88, 34), (50, 34)], light)
    pen.polygon([(12, 34), (50, 34), (50, 76)], dark)
    pen.line([(50, 4), (50, 76)], 2.4)
    pen.line([(12, 34), (88, 34)], 2.4)


def _umbrella(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.line([(50, 8), (50, 82)], 5)
    pen.arc(60, 82, 12, (0, 180), 5, _INK)
    pen.pie(50, 52, 44, (180, 360), main)
    pen.pie(50, 52, 44, (205, 250), light)
    pen.pie(50, 52, 44, (290, 335), dark)
    for x in (17, 39, 61, 83):
        pen.pie(x, 54, 11, (180, 360), _WHITE)


def _rocket(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.polygon([(40, 76), (50, 98), (60, 76)], (255, 150, 30))
    pen.polygon([(34, 50), (14, 80), (36, 74)], dark)
    pen.polygon([(66, 50), (86, 80), (64, 74)], dark)
    pen.polygon([(50, 2), (64, 20), (69, 44), (64, 77), (36, 77), (31, 44), (36, 20)], main)
    pen.polygon([(50, 2), (63, 19), (37, 19)], light)
    pen.ellipse(50, 38, 10, 10, _WHITE)
    pen.ellipse(50, 38, 5, 5, (150, 210, 240))


def _cup(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    for x in (32, 46, 60):
        pen.line([(x, 22), (x + 4, 16), (x - 1, 10), (x + 3, 3)], 3.4, _GREY)
    pen.ellipse(74, 53, 19, 19, main)
    pen.ellipse(74, 53, 10, 10, _WHITE)
    pen.box(16, 28, 74, 86, main, 12)
    pen.box(16, 28, 74, 40, light, 5)
    pen.box(26, 54, 64, 66, dark, 5)
    pen.box(8, 86, 82, 94, _WHITE, 4)


def _robot(pen: Pen, shades: Shades) -> None:
    main, dark, light = shades
    pen.line([(50, 14), (50, 4)], 3)
    pen.ellipse(50, 6, 5, 5, light)
    for x in (8, 80):
        pen.box(x, 54, x + 12, 80, dark, 4)
    for x in (30, 54):
        pen.box(x, 84, x + 16, 98, dark, 3)
    pen.box(22, 50, 78, 88, main, 5)
    pen.box(34, 60, 66, 76, _WHITE, 3)
    pen.box(18, 13, 82, 50, main, 6)
    for x in (36, 64):
        pen.ellipse(x, 29, 8, 8, _WHITE)
        pen.ellipse(x, 29, 3, 3, _INK)
    pen.box(34, 40, 66, 46, light, 2)


_DRAWN: Mapping[str, Callable[[Pen, Shades], None]] = {
    "ball": _ball,
    "car": _car,
    "fish": _fish,
    "kite": _kite,
    "umbrella": _umbrella,
    "rocket": _rocket,
    "cup": _cup,
    "robot": _robot,
}


@lru_cache(maxsize=64)
def sprite(thing: str, colour: str) -> Image.Image:
    """Give an object as an RGBA picture of SIDE x SIDE; do not draw on it, it is shared."""
    inner = Image.new("RGBA", (_OVERSAMPLED, _OVERSAMPLED))
    _DRAWN[thing](Pen(inner), _shades(COLOURS[colour]))
    thing_only = Image.new("RGBA", (SIDE, SIDE))
    side = SIDE - 2 * _MARGIN
    thing_only.paste(inner.resize((side, side), Image.Resampling.LANCZOS), (_MARGIN, _MARGIN))
    sticker = Image.new("RGBA", (SIDE, SIDE), (*_WHITE, 0))
    sticker.putalpha(thing_only.getchannel("A").filter(ImageFilter.MaxFilter(7)).filter(ImageFilter.GaussianBlur(1)))
    sticker.alpha_composite(thing_only)
    return sticker


def put_badge(
    image: Image.Image, look: tuple[str, str], centre: tuple[float, float], diameter: float, degrees: float = 0.0
) -> None:
    """Put an object on a white disc into a picture; a part outside of the picture is cut off.

    Args:
        image: what is drawn on.
        look: the object and its colour.
        centre: x and y of the disc in pixels.
        diameter: of the disc in pixels; the object is 0.8 of it high.
        degrees: how far the object is turned, counter-clockwise.
    """
    disc = _disc(round(diameter))
    image.paste(disc, (round(centre[0] - diameter / 2), round(centre[1] - diameter / 2)), disc)
    side = 0.8 * diameter
    placed = _sized(*look, round(side))
    if degrees:
        placed = placed.rotate(degrees, Image.Resampling.BICUBIC)
    image.paste(placed, (round(centre[0] - side / 2), round(centre[1] - side / 2)), placed)


@lru_cache(maxsize=512)
def _sized(thing: str, colour: str, side: int) -> Image.Image:
    return sprite(thing, colour).resize((side, side), Image.Resampling.BILINEAR)


@lru_cache(maxsize=512)
def _disc(diameter: int) -> Image.Image:
    disc = Image.new("RGBA", (_OVERSAMPLED, _OVERSAMPLED), (*_WHITE, 0))
    edge = _OVERSAMPLED - 4
    ImageDraw.Draw(disc).ellipse((4, 4, edge, edge), (*_WHITE, 225), outline=_INK, width=_OVERSAMPLED // 48)
    return disc.resize((diameter, diameter), Image.Resampling.LANCZOS)


def _shades(colour: Colour) -> Shades:
    red, green, blue = colour
    dark = (red * 3 // 4, green * 3 // 4, blue * 3 // 4)
    light = (red + (255 - red) * 2 // 5, green + (255 - green) * 2 // 5, blue + (255 - blue) * 2 // 5)
    return colour, dark, light
