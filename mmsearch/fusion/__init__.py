"""Fusion: the tokens of all modalities of a video to its codes."""

from mmsearch.fusion.base import Fusion
from mmsearch.fusion.transformer import FusionTransformer, FusionTransformerSettings

__all__ = ["Fusion", "FusionTransformer", "FusionTransformerSettings"]
