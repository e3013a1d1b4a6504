"""The fusion transformer: learned codes read the raw tokens of every modality.

Letters: B batch, N tokens of all modalities together, M codes, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.nn import Transformer, masked_mean, zero_masked
from mmsearch.types import Modality


class FusionTransformerSettings(Settings):
    """Sizes of the fusion transformer."""

    depth: int = Field(default=4, ge=1)
    """Layers."""
    heads: int = Field(default=8, ge=1)
    """Attention heads."""
    num_codes: int = Field(default=5, ge=1)
    """M: vectors that a video is summed up in (poly codes)."""
    modality_dropout: float = Field(default=0.15, ge=0, lt=1)
    """In training, the probability with which each modality of a video is hidden; at least one stays."""

    def build(self, width: int) -> FusionTransformer:
        """Make the fusion of tokens of this width."""
        return FusionTransformer(
            width,
            depth=self.depth,
            heads=self.heads,
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


class FusionTransformer(nn.Module):
    """Fuse modalities in one transformer over all their tokens.

    M code tokens stand in front; a type embedding marks the modality of every other token; what is missing is masked.
    The codes at the output sum the video up, as the poly-encoder's codes do (arXiv:1905.01969 section 4.4), with two
    differences: they attend through all layers instead of once, and each starts as a learned vector plus the mean of
    the modalities' means, so that an untrained fusion is an average of its tokens and not a constant.

    Args:
        width: W.
        depth: layers.
        heads: attention heads.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training, so that no tower leans on titles alone.
    """

    def __init__(self, width: int, *, depth: int, heads: int, num_codes: int, modality_dropout: float) -> None:
        super().__init__()
        self.width, self.num_codes, self.modality_dropout = width, num_codes, modality_dropout
        self.codes = nn.Parameter(torch.randn(num_codes, width) * 0.02)
        self.type_embed = nn.Embedding(len(Modality), width)
        self.transformer = Transformer(width, depth, heads)
        nn.init.normal_(self.type_embed.weight, std=0.02)

    def forward(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of videos.

        Args:
            tokens: [B, N, W]; what stands at masked places has no influence.
            mask: True where a token is real, [B, N].
            modality: number of the modality (its place in `Modality`) of each token, [N].

        Returns:
            codes [B, M, W]; for a video without any token they are those of an empty video, the same for all.
        """
        if self.training and self.modality_dropout > 0:
            mask = hide_modalities(mask, modality, self.modality_dropout)
        codes = self.codes + mean_of_modalities(tokens, mask, modality).unsqueeze(1)
        tokens = tokens + self.type_embed(modality)
        always = mask.new_ones(len(mask), self.num_codes)
        fused: Tensor = self.transformer(torch.cat([codes, tokens], 1), torch.cat([always, mask], 1))
        return fused[:, : self.num_codes]


def hide_modalities(mask: Tensor, modality: Tensor, probability: float) -> Tensor:
    """Hide whole modalities at random, never all that a video has.

    Args:
        mask: True where a token is real, [B, N].
        modality: number of the modality of each token, [N].
        probability: with which each modality of each video is hidden.

    Returns:
        The mask with some modalities switched off, [B, N]. Where the draw would hide everything, nothing is hidden.
    """
    hidden = torch.rand(len(mask), len(Modality), device=mask.device) < probability
    kept = mask & ~hidden[:, modality]
    return torch.where(kept.any(1, keepdim=True), kept, mask)


def mean_of_modalities(tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
    """Average the real tokens of each modality, then the modalities that are there: [B, N, W] to [B, W].

    A long transcript so counts no more than a short title. A video without any token gives zeros.
    """
    belongs = F.one_hot(modality, len(Modality)).to(tokens.dtype)  # [N, modalities]
    counts = mask.to(tokens.dtype) @ belongs
    sums = torch.einsum("bnw,nm->bmw", zero_masked(tokens, mask), belongs)
    return masked_mean(sums / counts.clamp(min=1).unsqueeze(-1), counts > 0)
