"""Towers: pictures, frames and text to tokens."""

from mmsearch.encoders.frames import FrameTower, FrameTowerSettings
from mmsearch.encoders.image import ImageTower, ImageTowerSettings
from mmsearch.encoders.text import TextTower, TextTowerSettings

__all__ = [
    "FrameTower",
    "FrameTowerSettings",
    "ImageTower",
    "ImageTowerSettings",
    "TextTower",
    "TextTowerSettings",
]
