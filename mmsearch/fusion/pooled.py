"""Fusions that read one vector a modality, the mean of its tokens, and their gate over modalities.

Letters: B batch, K modalities read, M codes, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmsearch.fusion.base import Fusion, Pooled, pool_modalities
from mmsearch.types import Modality


class PooledFusion(Fusion):
    """Fuse the means of the modalities: codes = LayerNorm(learned vectors + what `combine` makes of the means).

    The norm stands at the end of the fusion transformer as well.

    Args:
        width: W.
        modalities: those that it reads, K of them; a vector of a missing one is zeros.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.
    """

    def __init__(self, width: int, modalities: Sequence[Modality], *, num_codes: int, modality_dropout: float) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        self.norm = nn.LayerNorm(width)
        self._places = [list(Modality).index(modality) for modality in self.modalities]

    def fuse(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of what the mask shows: [B, M, W]."""
        codes: Tensor = self.norm(self.codes + self.combine(self.pool(tokens, mask, modality)))
        return codes

    @abstractmethod
    def combine(self, pooled: Pooled) -> Tensor:
        """Give what is added to the learned vectors, at the start the mean of the modalities: [B, M or 1, W]."""

    def pool(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Pooled:
        """Average the real tokens of each modality that this fusion reads, in its order."""
        means, present = pool_modalities(tokens, mask, modality)
        return Pooled(means[:, self._places], present[:, self._places])

    def share(self, gates: Tensor) -> Tensor:
        """Give the gates of the modalities that are read their places among all: [B, K] to [B, len(Modality)]."""
        shares = gates.new_zeros(len(gates), len(Modality))
        shares[:, self._places] = gates
        return shares


class ModalityGate(nn.Module):
    """Weigh the modalities of a video against each other: softmax over those present of a linear layer that sees all.

    The layer starts at zero, so that the first gates are uniform over what is there.

    Args:
        width: W.
        modalities: K.
        gates: number of weightings, G.
    """

    def __init__(self, width: int, modalities: int, gates: int) -> None:
        super().__init__()
        self.logits = nn.Linear(modalities * (width + 1), gates * modalities)
        start_at_zero(self.logits)

    def forward(self, pooled: Pooled) -> Tensor:
        """Give weightings of the modalities [B, G, K]: sum 1, exactly 0 for the missing; all 0 where none is there."""
        present = pooled.present.unsqueeze(1)
        logits: Tensor = self.logits(side_by_side(pooled)).unflatten(1, (-1, pooled.present.shape[1]))
        return logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(-1) * present


def side_by_side(pooled: Pooled) -> Tensor:
    """Concatenate the vectors of a video and, for each modality, 1 where it is there, 0 where not: [B, K * (W + 1)].

    A zero vector alone would not tell a missing modality from one that says nothing; with its flag, a linear layer
    learns a vector of its own for each that is missing.
    """
    return torch.cat([pooled.means.flatten(1), pooled.present.to(pooled.means.dtype)], 1)


def start_at_zero(layer: nn.Linear) -> None:
    """Let a linear layer add nothing until it has learned something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
