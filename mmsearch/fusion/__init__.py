"""Fusion: the tokens of all modalities of a video to its codes."""

from mmsearch.fusion.transformer import FusionTransformer, FusionTransformerSettings

__all__ = ["FusionTransformer", "FusionTransformerSettings"]
