"""The frame tower: a picture tower for every frame, then a transformer over time (the VideoCLIP pattern)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.nn import Transformer


class FrameTowerSettings(Settings):
    """Sizes of the temporal transformer."""

    depth: int = Field(default=2, ge=0)
    """Layers over time; 0 = frames know nothing of each other."""
    heads: int = Field(default=8, ge=1)
    """Attention heads."""
    max_frames: int = Field(default=32, ge=1)
    """Most frames of a video."""

    def build(self, width: int) -> FrameTower:
        """Make the tower on top of a picture tower of this width."""
        return FrameTower(width, depth=self.depth, heads=self.heads, max_frames=self.max_frames)


class FrameTower(nn.Module):
    """Let the frames of a video see each other in their order.

    Args:
        width: W of the frame embeddings.
        depth: layers.
        heads: attention heads.
        max_frames: most frames of a video.
    """

    def __init__(self, width: int, *, depth: int, heads: int, max_frames: int) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Parameter(torch.zeros(max_frames, width))
        self.transformer = Transformer(width, depth, heads)
        nn.init.normal_(self.time, std=0.02)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Give frame tokens: embeddings [B, F, W] in time order and mask (True = real) to [B, F, W].

        A video without any real frame gives numbers without meaning; the caller masks them.
        """
        some = mask | ~mask.any(1, keepdim=True)  # attention over nothing at all would be NaN
        seen = torch.where(mask.unsqueeze(-1), frames, 0.0) + self.time[: frames.shape[1]]
        tokens: Tensor = self.transformer(seen, some)
        return tokens
