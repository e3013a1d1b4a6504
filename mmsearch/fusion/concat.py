"""Fusion by concatenation: the means of the modalities side by side, and a small network over them.

Letters: B batch, K modalities read, M codes, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from mmsearch.fusion.base import CodesSettings, Pooled
from mmsearch.fusion.pooled import PooledFusion, side_by_side, start_at_zero
from mmsearch.nn import masked_mean
from mmsearch.types import Modality


class ConcatFusionSettings(CodesSettings):
    """The means of the modalities, concatenated and projected."""

    type: Literal["concat"] = "concat"
    """This fusion."""
    mlp_ratio: float = Field(default=4.0, gt=0)
    """Hidden width, as a multiple of the text tower's; with 4 there are about as many parameters as in a fusion
    transformer of 4 layers."""

    def build(self, width: int, modalities: Sequence[Modality]) -> ConcatFusion:
        """Make the fusion of tokens of this width."""
        return ConcatFusion(
            width,
            modalities,
            hidden=max(1, int(self.mlp_ratio * width)),
            num_codes=self.num_codes,
            modality_dropout=self.modality_dropout,
        )


class ConcatFusion(PooledFusion):
    """Concatenate the means of the modalities and project them to codes: the usual baseline.

    With z[k] the mean of modality k (zeros where it is missing) and p[k] = 1 where it is there,

        code[m] = LayerNorm(learned[m] + mean of z + MLP([z[1] … z[K], p[1] … p[K]])[m])

    The network has one hidden layer (GELU); its last layer starts at zero. `weights` is None: a concatenation has no
    share of a modality.

    Args:
        width: W.
        modalities: those that it reads.
        hidden: width of the hidden layer.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training.
    """

    def __init__(
        self, width: int, modalities: Sequence[Modality], *, hidden: int, num_codes: int, modality_dropout: float
    ) -> None:
        super().__init__(width, modalities, num_codes=num_codes, modality_dropout=modality_dropout)
        last = nn.Linear(hidden, num_codes * width)
        self.mlp = nn.Sequential(nn.Linear(len(self.modalities) * (width + 1), hidden), nn.GELU(), last)
        start_at_zero(last)

    def combine(self, pooled: Pooled) -> Tensor:
        """Give the mean of the modalities and what the network adds: [B, M, W]."""
        added: Tensor = self.mlp(side_by_side(pooled)).unflatten(1, (self.num_codes, self.width))
        return masked_mean(*pooled).unsqueeze(1) + added
