"""The fusion transformer: learned codes read the raw tokens of every modality.

Letters: B batch, N tokens of all modalities together, M codes, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Fusion, mean_of_modalities, share_of_modalities
from mmsearch.nn import Transformer
from mmsearch.types import Modality


class FusionTransformerSettings(CodesSettings):
    """Learned codes and the tokens of all modalities in one transformer."""

    type: Literal["transformer"] = "transformer"
    """This fusion."""
    depth: int = Field(default=4, ge=1)
    """Layers."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; they divide the width of the text tower, which is the fusion's."""

    def build(self, width: int, modalities: Sequence[Modality]) -> FusionTransformer:
        """Make the fusion of tokens of this width."""
        return FusionTransformer(
            width,
            modalities,
            depth=self.depth,
            heads=self.heads,
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


class FusionTransformer(Fusion):
    """Fuse modalities in one transformer over all their tokens.

    M code tokens stand in front; a type embedding marks the modality of every other token; what is missing is masked.
    The codes at the output sum the video up, as the poly-encoder's codes do (arXiv:1905.01969 section 4.4), with two
    differences: they attend through all layers instead of once, and each starts as a learned vector plus the mean of
    the modalities' means, so that an untrained fusion is an average of its tokens and not a constant.

    `weights` is the attention of the codes to the tokens of each modality, averaged over codes, heads and layers,
    without what the codes pay to each other. A modality of many tokens gets more of it from attention that is spread
    evenly over tokens.

    Args:
        width: W, divisible by `heads`.
        modalities: those that it reads.
        depth: layers.
        heads: attention heads.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training, so that no tower leans on titles alone.
    """

    def __init__(
        self,
        width: int,
        modalities: Sequence[Modality],
        *,
        depth: int,
        heads: int,
        num_codes: int,
        modality_dropout: float,
    ) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        self.type_embed = nn.Embedding(len(Modality), width)
        self.transformer = Transformer(width, depth, heads)
        nn.init.normal_(self.type_embed.weight, std=0.02)

    def fuse(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of what the mask shows: [B, M, W]."""
        fused: Tensor = self.transformer(*self._stream(tokens, mask, modality))
        return fused[:, : self.num_codes]

    def weights(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the attention of the codes to each modality: [B, len(Modality)]."""
        layers = self.transformer.attention(*self._stream(tokens, mask, modality), queries=self.num_codes)
        paid = torch.stack([layer.mean((1, 2)) for layer in layers]).mean(0)  # [B, M + N]
        return share_of_modalities(paid[:, self.num_codes :], modality)

    def _stream(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Put the codes before the tokens: [B, M + N, W] and their mask."""
        codes = self.codes + mean_of_modalities(tokens, mask, modality).unsqueeze(1)
        always = mask.new_ones(len(mask), self.num_codes)
        return torch.cat([codes, tokens + self.type_embed(modality)], 1), torch.cat([always, mask], 1)
