"""Tensor fusion: the outer product of all modalities.

Letters: B batch, K modalities read, M codes, W width, D components of a modality in the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Pooled
from mmsearch.fusion.pooled import PooledFusion, start_at_zero
from mmsearch.nn import masked_mean
from mmsearch.types import Modality

#: Most numbers in the product of one video.
MAX_TENSOR = 1 << 15


class TensorFusionSettings(CodesSettings):
    """The outer product of all modalities, each projected to a few components."""

    type: Literal["tfn"] = "tfn"
    """This fusion."""
    modality_dim: int = Field(default=2, ge=1)
    """D: components of each modality in the product, which holds (D + 1)^7 numbers for 7 modalities."""

    @model_validator(mode="after")
    def _small_enough(self) -> TensorFusionSettings:
        check_size(self.modality_dim, len(Modality))
        return self

    def build(self, width: int, modalities: Sequence[Modality]) -> TensorFusion:
        """Make the fusion of tokens of this width."""
        return TensorFusion(
            width,
            modalities,
            modality_dim=self.modality_dim,
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


def check_size(modality_dim: int, count: int) -> None:
    """Refuse a product of more than `MAX_TENSOR` numbers a video.

    Raises:
        ValueError: it is larger; the message names its size.
    """
    size = (modality_dim + 1) ** count
    if size > MAX_TENSOR:
        raise ValueError(
            f"a modality_dim of {modality_dim} gives {modality_dim + 1}^{count} = {size:,} products for each video, "
            f"and at most {MAX_TENSOR:,} are allowed; take a smaller one, or the fusion lmf, which needs no tensor"
        )


class TensorFusion(PooledFusion):
    """Multiply every component of every modality with those of all others (TFN, arXiv:1707.07250, section 4.2).

    With z[k] the mean of modality k and v[k] = tanh(A[k] z[k] + b[k]) its D components,

        T = outer product over k of [v[k]; 1]        code[m] = LayerNorm(learned[m] + mean of z + MLP(T)[m])

    The constants let T hold the products of all subsets of modalities, each by itself and the pairs among them. A
    missing modality is [0; 1], so that T falls back to the products of the others. The paper has three modalities of
    32 or more components; with seven, (D + 1)^7 leaves room for 2 or 3. The network brings T to the width by a linear
    layer and a norm (products of many numbers below 1 are small), and to the codes by a layer that starts at zero.

    `weights` is None: products belong to no modality alone.

    Args:
        width: W.
        modalities: those that it reads.
        modality_dim: D.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.

    Raises:
        ValueError: the product would hold more than `MAX_TENSOR` numbers.

    See also:
        LowRankFusion: the same products, never written down.
    """

    def __init__(
        self, width: int, modalities: Sequence[Modality], *, modality_dim: int, num_codes: int, modality_dropout: float
    ) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        count = len(self.modalities)
        check_size(modality_dim, count)
        self.matrices = nn.Parameter(torch.randn(count, width, modality_dim) * width**-0.5)
        self.biases = nn.Parameter(torch.zeros(count, modality_dim))
        first, last = nn.Linear((modality_dim + 1) ** count, width), nn.Linear(width, num_codes * width)
        self.mlp = nn.Sequential(first, nn.LayerNorm(width), nn.GELU(), last)
        start_at_zero(last)

    def combine(self, pooled: Pooled) -> Tensor:
        """Give the mean of the modalities and what their products add: [B, M, W]."""
        added: Tensor = self.mlp(self.multiply(pooled)).unflatten(1, (self.num_codes, self.width))
        return masked_mean(*pooled).unsqueeze(1) + added

    def multiply(self, pooled: Pooled) -> Tensor:
        """Give the outer product, the last modality running fastest, its constant last: [B, (D + 1)^K]."""
        parts = torch.tanh(torch.einsum("bkw,kwd->bkd", pooled.means, self.matrices) + self.biases)
        parts = torch.where(pooled.present.unsqueeze(-1), parts, 0.0)
        parts = torch.cat([parts, torch.ones_like(parts[..., :1])], -1)
        product = parts[:, 0]
        for part in parts.unbind(1)[1:]:
            product = (product.unsqueeze(-1) * part.unsqueeze(1)).flatten(1)
        return product
