"""What every fusion has in common: what it reads, what it gives, where its codes start, modality dropout.

Letters: B batch, N tokens of all modalities together, K modalities, M codes, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.nn import masked_mean, zero_masked
from mmsearch.types import Modality


class CodesSettings(Settings):
    """What every fusion is told."""

    num_codes: int = Field(default=5, ge=1)
    """M: vectors that a video is summed up in (poly codes)."""
    modality_dropout: float = Field(default=0.15, ge=0, lt=1)
    """In training, the probability with which each modality of a video is hidden; at least one stays."""


class Fusion(nn.Module, ABC):
    """Sum up the tokens of a video in M codes.

    Every method starts from one point: a code is a learned vector (standard deviation 0.02) plus the mean of the means
    of the modalities that are there, plus what the method adds, which starts at zero or small. So every untrained
    fusion is an average of its tokens, and what a comparison finds is due to the method and not to its start. This
    differs from the papers, whose fusions start as random functions.

    Args:
        width: W.
        modalities: those that it reads.
        num_codes: M.
        modality_dropout: probability of hiding a modality in training, so that no tower leans on titles alone.
    """

    def __init__(self, width: int, modalities: Sequence[Modality], *, num_codes: int, modality_dropout: float) -> None:
        super().__init__()
        self.width, self.modalities = width, tuple(modalities)
        self.num_codes, self.modality_dropout = num_codes, modality_dropout
        self.codes = nn.Parameter(torch.randn(num_codes, width) * 0.02)

    def forward(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of videos.

        Args:
            tokens: [B, N, W]; what stands at masked places (NaN too) has no influence.
            mask: True where a token is real, [B, N].
            modality: number of the modality (its place in `Modality`) of each token, one of `modalities`, [N].

        Returns:
            codes [B, M, W]; for a video without any token they are those of an empty video, the same for all.
        """
        if self.training and self.modality_dropout > 0:
            mask = hide_modalities(mask, modality, self.modality_dropout)
        return self.fuse(tokens, mask, modality)

    @abstractmethod
    def fuse(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """Give the codes of what the mask shows; arguments and result are those of `forward`."""

    def weights(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor | None:  # noqa: ARG002 (the interface)
        """Give the share of each modality in the codes, as far as the method has such a thing.

        It says what a method looks at, not what its scores depend on: for that, leave the modality out.

        Args:
            tokens: as for `forward`.
            mask: as for `forward`; no modality is hidden by dropout, in training either.
            modality: as for `forward`.

        Returns:
            [B, len(Modality)] in the order of `Modality`: at least 0, of sum 1 in each row, exactly 0 for what is
            missing or not read; a video without any token has zeros. None where the method has no such share.
        """
        return None


class Pooled(NamedTuple):
    """One vector a modality."""

    means: Tensor
    """The mean of its real tokens, zeros where it has none, [B, K, W]."""
    present: Tensor
    """True where it has a real token, [B, K]."""


def pool_modalities(tokens: Tensor, mask: Tensor, modality: Tensor) -> Pooled:
    """Average the real tokens of each modality, for all of `Modality` in their order: K = len(Modality)."""
    belongs = F.one_hot(modality, len(Modality)).to(tokens.dtype)  # [N, K]
    counts = mask.to(tokens.dtype) @ belongs
    sums = torch.einsum("bnw,nm->bmw", zero_masked(tokens, mask), belongs)
    return Pooled(sums / counts.clamp(min=1).unsqueeze(-1), counts > 0)


def mean_of_modalities(tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
    """Average the real tokens of each modality, then the modalities that are there: [B, N, W] to [B, W].

    A long transcript so counts no more than a short title. A video without any token gives zeros.
    """
    return masked_mean(*pool_modalities(tokens, mask, modality))


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


def share_of_modalities(paid: Tensor, modality: Tensor) -> Tensor:
    """Sum what is paid to the tokens of each modality, as shares: [B, N] and [N] to [B, len(Modality)].

    Args:
        paid: at least 0, exactly 0 at masked places, [B, N].
        modality: number of the modality of each token, [N].
    """
    sums = paid @ F.one_hot(modality, len(Modality)).to(paid.dtype)
    return sums / sums.sum(1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)
