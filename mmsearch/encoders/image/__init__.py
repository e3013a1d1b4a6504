"""Picture towers: covers and frames to tokens."""

from mmsearch.encoders.image.timm_tower import ImageTower, ImageTowerSettings

__all__ = ["ImageTower", "ImageTowerSettings"]
