"""Towers: pictures, frames and text to tokens."""

from mmsearch.encoders.image import ImageTower, ImageTowerSettings
from mmsearch.encoders.text import TextTower, TextTowerSettings
from mmsearch.encoders.video import FrameTower, FrameTowerSettings

__all__ = [
    "FrameTower",
    "FrameTowerSettings",
    "ImageTower",
    "ImageTowerSettings",
    "TextTower",
    "TextTowerSettings",
]
