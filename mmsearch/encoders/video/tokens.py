"""What every frame tower gives: tokens over time, and which of them are real."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

#: The cover's picture tower, as a frame tower sees it: pictures [P, 3, S, S] to vectors [P, W of the picture tower].
PictureEncoder = Callable[[Tensor], Tensor]


class FrameTokens(NamedTuple):
    """Tokens of videos in time order, T of them: one a frame, or fewer where a tower joins neighbouring frames.

    `tokens` [B, T, W] are zero where `mask` [B, T] is False; a video without any real frame has no real token.

    A tuple, because DeepSpeed looks for the tensors of a module's output in tuples and mappings only: its hooks that
    gather a module's parameters for the backward pass are tied to them.
    """

    tokens: Tensor
    mask: Tensor
