"""Text towers: token ids to contextual tokens."""

from mmsearch.encoders.text.transformer import TextTower, TextTowerSettings

__all__ = ["TextTower", "TextTowerSettings"]
