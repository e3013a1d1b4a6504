"""How things move, and the lines that comics draw around what moves, which show it in a single frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

_INK, _WHITE, _LIGHT = (32, 30, 42), (255, 255, 255), (255, 246, 150)


@dataclass(frozen=True, slots=True)
class Pose:
    """How an object stands in a frame.

    Args:
        x: centre, as a share of the width of the picture.
        y: centre, as a share of its height.
        zoom: factor of its size.
        degrees: how far it is turned.
        beat: phase of what comes and goes (height of a jump, strength of light), from 0 to 1.
    """

    x: float = 0.5
    y: float = 0.5
    zoom: float = 1.0
    degrees: float = 0.0
    beat: float = 0.0


def pose(motion: str, seconds: float, share: float) -> Pose:
    """Give how an object stands at a time since the start, and at a share (0 to 1) of its shot."""
    beat = abs(math.sin(math.pi * 1.3 * seconds))
    poses = {
        "bounce": Pose(y=0.68 - 0.38 * beat, beat=beat),
        "spin": Pose(degrees=-300.0 * seconds),
        "cross": Pose(x=0.14 + 0.78 * share),
        "grow": Pose(zoom=0.4 + 0.9 * share),
        "shine": Pose(beat=0.3 + 0.7 * beat),
    }
    return poses[motion]


def draw_marks(picture: Image.Image, motion: str, at: Pose, diameter: float) -> None:
    """Draw what shows a motion around the place of an object, which is put there afterwards.

    Args:
        picture: what is drawn on.
        motion: a value of the attribute MOTION.
        at: how the object stands.
        diameter: of what the marks go around, in pixels.
    """
    x, y = at.x * picture.width, at.y * picture.height
    _MARKS[motion](ImageDraw.Draw(picture), x, y, diameter, at)


def _stroke(draw: ImageDraw.ImageDraw, points: list[float]) -> None:
    draw.line(points, _INK, 6)
    draw.line(points, _WHITE, 3)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, degrees: tuple[float, float]) -> None:
    for extra, colour, width in ((1.5, _INK, 6), (0.0, _WHITE, 3)):
        r = radius + extra
        draw.arc((x - r, y - r, x + r, y + r), *degrees, fill=colour, width=width)


def _bounce(draw: ImageDraw.ImageDraw, x: float, y: float, diameter: float, at: Pose) -> None:
    """A shadow on the ground, smaller the higher the jump, and strokes that point down to it."""
    reach, ground = diameter * (0.5 - 0.2 * at.beat), y * 0.96 / at.y
    draw.ellipse((x - reach, ground - 0.05 * diameter, x + reach, ground + 0.05 * diameter), _INK)
    for shift in (-0.3, 0.3):
        column = x + shift * diameter
        _stroke(draw, [column, y + 0.52 * diameter, column, y + (0.56 + 0.24 * at.beat) * diameter])


def _spin(draw: ImageDraw.ImageDraw, x: float, y: float, diameter: float, at: Pose) -> None:
    """Two arcs that turn with the object."""
    for turn in (0.0, 180.0):
        _ring(draw, x, y, 0.62 * diameter, (turn - at.degrees, turn - at.degrees + 110.0))


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, diameter: float, at: Pose) -> None:
    """Strokes behind what rushes to the right."""
    for row, length in ((-0.28, 0.4), (0.0, 0.6), (0.28, 0.4)):
        end = x - 0.54 * diameter
        _stroke(draw, [end - length * diameter, y + row * diameter, end, y + row * diameter])


def _grow(draw: ImageDraw.ImageDraw, x: float, y: float, diameter: float, at: Pose) -> None:
    """Rings around what comes near."""
    for radius in (0.62, 0.76):
        _ring(draw, x, y, radius * diameter, (0.0, 360.0))


def _shine(draw: ImageDraw.ImageDraw, x: float, y: float, diameter: float, at: Pose) -> None:
    """Rays, longer the stronger the light."""
    reach = diameter * (0.6 + 0.3 * at.beat)
    for ray in range(12):
        angle = math.pi * ray / 6
        points = [(x, y)]
        points += [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in (angle - 0.13, angle + 0.13)]
        draw.polygon(points, _LIGHT)


_MARKS: Mapping[str, Callable[[ImageDraw.ImageDraw, float, float, float, Pose], None]] = {
    "bounce": _bounce,
    "spin": _spin,
    "cross": _cross,
    "grow": _grow,
    "shine": _shine,
}
