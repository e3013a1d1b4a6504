"""Low-rank multimodal fusion, with a gate over modalities.

Letters: B batch, K modalities read, M codes, W width, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Pooled
from mmsearch.fusion.pooled import ModalityGate, PooledFusion, start_at_zero
from mmsearch.types import Modality


class LowRankFusionSettings(CodesSettings):
    """The product of all modalities in low-rank factors, each modality scaled by a gate."""

    type: Literal["lmf"] = "lmf"
    """This fusion."""
    rank: int = Field(default=4, ge=1)
    """R: number of products that are summed up."""

    def build(self, width: int, modalities: Sequence[Modality]) -> LowRankFusion:
        """Make the fusion of tokens of this width."""
        return LowRankFusion(
            width,
            modalities,
            rank=self.rank,
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


class LowRankFusion(PooledFusion):
    """Multiply the modalities in low-rank factors (LMF, arXiv:1806.00064, eq. 9), each scaled by a gate.

    It is the tensor fusion of `TensorFusion` without the tensor: a product over modalities of R linear maps each. With
    z[k] the mean of modality k, g[k] its gate (a softmax over the n modalities that are there) and u[k] = n g[k] z[k],

        h = sum_r prod_k (1 + F[r, k] u[k] + b[r, k])
        code[m] = LayerNorm(learned[m] + sum_k g[k] z[k] + P[m] LayerNorm(h))

    which is the paper's product of W [z; 1], its constant written as 1 + b. The gate is not in the paper. Factors start
    near 1 (F is drawn so that a mean of unit variance moves them by 0.3) and the two norms keep the scale: the product
    of seven numbers drawn around 0 would vanish, and one of seven large ones run away. A missing modality is [0; 1],
    whose factor does not depend on the video. The gates are uniform at the start and P is zero.

    `weights` are the gates.

    Args:
        width: W, also of h.
        modalities: those that it reads.
        rank: R.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.
    """

    def __init__(
        self, width: int, modalities: Sequence[Modality], *, rank: int, num_codes: int, modality_dropout: float
    ) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        count = len(self.modalities)
        self.gate = ModalityGate(width, count, 1)
        self.factors = nn.Parameter(torch.randn(rank, count, width, width) * 0.3 * width**-0.5)
        self.biases = nn.Parameter(torch.zeros(rank, count, width))
        self.norm_product = nn.LayerNorm(width)
        self.out = nn.Linear(width, num_codes * width)
        start_at_zero(self.out)

    def combine(self, pooled: Pooled) -> Tensor:
        """Give the gated mean of the modalities and what their product adds: [B, M, W]."""
        gates: Tensor = self.gate(pooled)
        gated = gates.transpose(1, 2) * pooled.means
        product = self.multiply(gated * pooled.present.sum(1).view(-1, 1, 1))
        added: Tensor = self.out(self.norm_product(product)).unflatten(1, (self.num_codes, self.width))
        return gated.sum(1, keepdim=True) + added

    def multiply(self, vectors: Tensor) -> Tensor:
        """Give sum_r prod_k (1 + F[r, k] u[k] + b[r, k]): [B, K, W] to [B, W]."""
        factors = 1 + torch.einsum("bkw,rkwv->kbrv", vectors, self.factors) + self.biases.transpose(0, 1).unsqueeze(1)
        return reduce(torch.mul, factors.unbind()).sum(1)

    def weights(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the gates: [B, len(Modality)]."""
        gates: Tensor = self.gate(self.pool(tokens, mask, modality))
        return self.share(gates.squeeze(1))
