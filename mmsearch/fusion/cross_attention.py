"""Fusion by cross-attention: codes and texts read the pictures, layer after layer.

Letters: B batch, N tokens of all modalities together, P those of pictures, T those of texts, M codes, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Fusion, mean_of_modalities, share_of_modalities
from mmsearch.nn import Block, attend, attention_weights, start_residual, zero_masked
from mmsearch.types import TEXTS, Modality


class CrossAttentionFusionSettings(CodesSettings):
    """Codes and texts in one stream, which reads cover and frames by cross-attention."""

    type: Literal["cross_attention"] = "cross_attention"
    """This fusion."""
    depth: int = Field(default=3, ge=1)
    """Layers; 3 have about as many parameters as 4 of a fusion transformer."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; they divide the width of the text tower, which is the fusion's."""

    def build(self, width: int, modalities: Sequence[Modality]) -> CrossAttentionFusion:
        """Make the fusion of tokens of this width."""
        return CrossAttentionFusion(
            width,
            modalities,
            depth=self.depth,
            heads=self.heads,
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


class CrossBlock(Block):
    """Mix the stream by self-attention, let it read pictures by cross-attention, then change each token by itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.norm_cross = nn.LayerNorm(width)
        self.norm_pictures = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)

    def read(self, stream: Tensor, pictures: Tensor, allowed: Tensor) -> Tensor:
        """Add what the stream [B, N, W] finds in pictures [B, P, W]; `allowed` [B, 1, 1, P] is True where one is."""
        q, k, v = self._projected(stream, pictures)
        found: Tensor = self.cross_out(attend(q, k, v, allowed).transpose(1, 2).flatten(2))
        return stream + found

    def cross_attention(self, stream: Tensor, pictures: Tensor, allowed: Tensor) -> Tensor:
        """Give what each token of the stream pays to every picture token, in each head: [B, H, N, P]."""
        q, k, _ = self._projected(stream, pictures)
        return attention_weights(q, k, allowed)

    def _projected(self, stream: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k, v = self.key_value(self.norm_pictures(pictures)).chunk(2, -1)
        q: Tensor = self.query(self.norm_cross(stream))
        return self._in_heads(q), self._in_heads(k), self._in_heads(v)

    def _in_heads(self, x: Tensor) -> Tensor:
        """[B, N, W] to [B, H, N, W/H]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class _Inputs(NamedTuple):
    stream: Tensor  # codes, then texts [B, M + T, W]
    stream_allowed: Tensor  # [B, 1, 1, M + T]
    pictures: Tensor  # nothing, then cover and frames [B, 1 + P, W]
    pictures_allowed: Tensor  # [B, 1, 1, 1 + P]


class CrossAttentionFusion(Fusion):
    """Let codes and texts attend to each other and then to the pictures, in every layer (ALBEF, arXiv:2107.07651).

    The stream is that of the paper's multimodal encoder (section 3.1: self-attention, cross-attention to the picture,
    feed-forward network), with code tokens in front instead of one [CLS] token, as in `FusionTransformer`; layers are
    pre-norm and start at random. Cover and frame tokens are keys and values and do not change from layer to layer;
    beside them stands a learned "nothing" that a video without pictures reads. Type embeddings mark the modalities. A
    code starts as a learned vector plus the mean of the means of all modalities, pictures too.

    `weights` adds what the codes pay to texts in self-attention, without what they pay to each other, to what they pay
    to cover and frames in cross-attention, without what they pay to nothing; averaged over codes, heads and layers.
    The two are separate softmaxes: texts and pictures do not compete for one attention, so the shares of two texts can
    be compared, and those of a text and a picture less so.

    Args:
        width: W, divisible by `heads`.
        modalities: those that it reads.
        depth: layers.
        heads: H.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.
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
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        start_residual(self.blocks, width, depth)
        self.type_embed = nn.Embedding(len(Modality), width)
        nn.init.normal_(self.type_embed.weight, std=0.02)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self._texts = [modality in TEXTS for modality in Modality]

    def fuse(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of what the mask shows: [B, M, W]."""
        stream, stream_allowed, pictures, pictures_allowed = self._inputs(tokens, mask, modality)
        for block in cast(Iterable[CrossBlock], self.blocks):
            stream = block.read(block.mix(stream, stream_allowed), pictures, pictures_allowed)
            stream = block.change(stream)
        codes: Tensor = self.norm(stream[:, : self.num_codes])
        return codes

    def weights(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the attention of the codes to each modality: [B, len(Modality)]."""
        stream, stream_allowed, pictures, pictures_allowed = self._inputs(tokens, mask, modality)
        m, paid = self.num_codes, []
        for block in cast(Iterable[CrossBlock], self.blocks):
            to_texts = block.attention(stream, stream_allowed, m).mean((1, 2))[:, m:]
            stream = block.mix(stream, stream_allowed)
            to_pictures = block.cross_attention(stream[:, :m], pictures, pictures_allowed).mean((1, 2))[:, 1:]
            paid.append(torch.cat([to_texts, to_pictures], 1))
            stream = block.change(block.read(stream, pictures, pictures_allowed))
        text = self._is_text(modality)
        return share_of_modalities(torch.stack(paid).mean(0), torch.cat([modality[text], modality[~text]]))

    def _inputs(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> _Inputs:
        codes = self.codes + mean_of_modalities(tokens, mask, modality).unsqueeze(1)
        typed = zero_masked(tokens + self.type_embed(modality), mask)
        text = self._is_text(modality)
        always = mask.new_ones(len(mask), self.num_codes)
        return _Inputs(
            torch.cat([codes, typed[:, text]], 1),
            torch.cat([always, mask[:, text]], 1)[:, None, None, :],
            torch.cat([self.nothing.expand(len(mask), 1, -1), typed[:, ~text]], 1),
            torch.cat([always[:, :1], mask[:, ~text]], 1)[:, None, None, :],
        )

    def _is_text(self, modality: Tensor) -> Tensor:
        """Say which tokens are text: [N] to [N]."""
        return torch.tensor(self._texts, device=modality.device)[modality]
