"""What every frame tower gives: tokens over time, and which of them are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

#: The cover's picture tower, as a frame tower sees it: pictures [P, 3, S, S] to vectors [P, W of the picture tower].
PictureEncoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class FrameTokens:
    """Tokens of videos in time order, T of them: one a frame, or fewer where a tower joins neighbouring frames.

    `tokens` [B, T, W] are zero where `mask` [B, T] is False; a video without any real frame has no real token.
    """

    tokens: Tensor
    mask: Tensor
