"""Pooling that never reads what is masked."""

from __future__ import annotations

import torch
from torch import Tensor


def zero_masked(tokens: Tensor, mask: Tensor) -> Tensor:
    """Put zeros where nothing is real: [B, N, W] and [B, N] to [B, N, W]. NaN at masked places is removed too."""
    return torch.where(mask.unsqueeze(-1), tokens, 0.0)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average the real tokens: [B, N, W] and [B, N] to [B, W]. A row without any gives zeros."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    return zero_masked(tokens, mask).sum(1) / count
