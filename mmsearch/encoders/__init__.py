"""Towers: pictures, frames and text to tokens; each kind chosen by the `type` in its settings."""

from mmsearch.encoders.image import ImageTower, ImageTowerSettings, TimmImageSettings
from mmsearch.encoders.text import TextTower, TextTowerSettings, TransformerTextSettings
from mmsearch.encoders.video import FrameTokens, FrameTower, FrameTowerSettings, PerFrameSettings

__all__ = [
    "FrameTokens",
    "FrameTower",
    "FrameTowerSettings",
    "ImageTower",
    "ImageTowerSettings",
    "PerFrameSettings",
    "TextTower",
    "TextTowerSettings",
    "TimmImageSettings",
    "TransformerTextSettings",
]
