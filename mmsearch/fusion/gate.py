"""Fusion by a gated sum: each code weighs the modalities of a video against each other.

Letters: B batch, K modalities read, M codes, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Pooled
from mmsearch.fusion.pooled import ModalityGate, PooledFusion
from mmsearch.types import Modality


class GatedFusionSettings(CodesSettings):
    """A sum of modalities, weighted by gates that see all of them."""

    type: Literal["gated_sum"] = "gated_sum"
    """This fusion."""

    def build(self, width: int, modalities: Sequence[Modality]) -> GatedFusion:
        """Make the fusion of tokens of this width."""
        return GatedFusion(width, modalities, num_codes=self.num_codes, modality_dropout=self.modality_dropout)


class GatedFusion(PooledFusion):
    """Sum the modalities up, weighted by gates: the gated multimodal unit (arXiv:1702.01992, section 3).

    With z[k] the mean of modality k,

        h[k] = z[k] + tanh(A[k] z[k] + b[k])        code[m] = LayerNorm(learned[m] + sum_k gate[m, k] h[k])

    The paper has h[k] = tanh(A[k] z[k]) and a gate for every component, a sigmoid. Here a gate is one number for a
    modality in a code, and a softmax over the modalities that are there: what is missing takes no part, and gates can
    be read as shares. A, b and the gates' logits start at zero, so that the first sum is the plain mean.

    `weights` are the gates, averaged over codes.

    Args:
        width: W.
        modalities: those that it reads.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.
    """

    def __init__(self, width: int, modalities: Sequence[Modality], *, num_codes: int, modality_dropout: float) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        count = len(self.modalities)
        self.matrices = nn.Parameter(torch.zeros(count, width, width))
        self.biases = nn.Parameter(torch.zeros(count, width))
        self.gate = ModalityGate(width, count, num_codes)

    def combine(self, pooled: Pooled) -> Tensor:
        """Give the gated sum of each code: [B, M, W]."""
        changed = torch.tanh(torch.einsum("bkw,kwv->bkv", pooled.means, self.matrices) + self.biases)
        gates: Tensor = self.gate(pooled)
        return gates @ (pooled.means + changed)

    def weights(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the gates, averaged over codes: [B, len(Modality)]."""
        gates: Tensor = self.gate(self.pool(tokens, mask, modality))
        return self.share(gates.mean(1))
