"""Fusion: the tokens of all modalities of a video to its codes."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.fusion.base import Fusion
from mmsearch.fusion.concat import ConcatFusion, ConcatFusionSettings
from mmsearch.fusion.cross_attention import CrossAttentionFusion, CrossAttentionFusionSettings
from mmsearch.fusion.gate import GatedFusion, GatedFusionSettings
from mmsearch.fusion.lmf import LowRankFusion, LowRankFusionSettings
from mmsearch.fusion.tfn import TensorFusion, TensorFusionSettings
from mmsearch.fusion.transformer import FusionTransformer, FusionTransformerSettings

FusionSettings = Annotated[
    Annotated[ConcatFusionSettings, Tag("concat")]
    | Annotated[GatedFusionSettings, Tag("gated_sum")]
    | Annotated[TensorFusionSettings, Tag("tfn")]
    | Annotated[LowRankFusionSettings, Tag("lmf")]
    | Annotated[CrossAttentionFusionSettings, Tag("cross_attention")]
    | Annotated[FusionTransformerSettings, Tag("transformer")],
    by_type("transformer"),
]

__all__ = [
    "ConcatFusion",
    "ConcatFusionSettings",
    "CrossAttentionFusion",
    "CrossAttentionFusionSettings",
    "Fusion",
    "FusionSettings",
    "FusionTransformer",
    "FusionTransformerSettings",
    "GatedFusion",
    "GatedFusionSettings",
    "LowRankFusion",
    "LowRankFusionSettings",
    "TensorFusion",
    "TensorFusionSettings",
]
