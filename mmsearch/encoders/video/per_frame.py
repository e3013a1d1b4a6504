"""The per-frame tower: the cover's picture tower for every frame, then a transformer over time.

Letters: B videos, F frames, P pictures, S side in pixels, W width of the picture tower.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmsearch.config import Settings
from mmsearch.encoders.video.sources import read_source
from mmsearch.encoders.video.tokens import FrameTokens, PictureEncoder
from mmsearch.encoders.weights import LoadReport, load_into
from mmsearch.errors import ConfigError
from mmsearch.nn import Transformer


class PerFrameSettings(Settings):
    """The picture tower for every frame, then a transformer over time."""

    type: Literal["per_frame"] = "per_frame"
    """This tower."""
    depth: int = Field(default=2, ge=0)
    """Layers over time; 0 = frames know nothing of each other, their tokens are the pictures' vectors unchanged."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; they divide the picture tower's width."""
    max_frames: int = Field(default=32, ge=1)
    """Most frames of a video."""
    weights: str | None = None
    """Where the layers over time start from: a safetensors file, a folder (of a model trained here, say) or a hub name;
    None = at random."""

    def build(self, image_width: int, num_frames: int, image_size: int) -> PerFrameTower:  # noqa: ARG002 (the interface)
        """Make the tower on top of a picture tower of this width; pictures may have any size.

        Raises:
            ConfigError: a video has more frames than `max_frames`, or the heads do not divide the width.
        """
        if num_frames > self.max_frames:
            raise ConfigError(
                f"frames.max_frames is {self.max_frames}, and videos have {num_frames} frames; set it to at least that"
            )
        return PerFrameTower(image_width, depth=self.depth, heads=self.heads, max_frames=self.max_frames)


class PerFrameTower(nn.Module):
    """Encode every frame as a picture, and let the frames of a video see each other in their order.

    tokens = frames + gain * Transformer(frames + time), the "seqTransf" similarity head of CLIP4Clip
    (arXiv:2104.08860, section 3.3), which also runs at the picture tower's width with a residual around it. There the
    transformer starts from CLIP's own layers; here it starts at random behind a gain per component (LayerScale,
    arXiv:2103.17239, eq. 4) that begins at 0.1, so that an untrained one leaves the pretrained vectors nearly as they
    are: for vectors of unit variance the cosine is about 0.995.

    Args:
        width: W of the picture tower.
        depth: layers over time.
        heads: attention heads.
        max_frames: most frames of a video.

    Raises:
        ConfigError: the heads do not divide the width.

    See also:
        ClipTower: reads the clip itself, not pictures one by one.
    """

    def __init__(self, width: int, *, depth: int, heads: int, max_frames: int) -> None:
        super().__init__()
        if depth and width % heads:
            raise ConfigError(f"frames.heads is {heads}, which does not divide the picture tower's width {width}")
        self.width, self.depth = width, depth
        self.checkpointing = False
        if depth:
            self.time = nn.Parameter(torch.zeros(max_frames, width))
            self.transformer = Transformer(width, depth, heads)
            self.gain = nn.Parameter(torch.full((width,), 0.1))
            nn.init.normal_(self.time, std=0.02)

    def set_checkpointing(self, on: bool) -> None:
        """Recompute the layers over time in the backward pass; the picture tower has a switch of its own."""
        self.checkpointing = on

    def load(self, source: str) -> LoadReport:
        """Fill in the layers over time, and log what was taken.

        Args:
            source: a file, folder or hub name with this tower's own names, or a model trained here.

        Raises:
            ConfigError: there is no such source, or it does not fit; every mismatch is named.
            DataError: the file is damaged.
        """
        report = load_into(self, read_source(source), source)
        report.log()
        return report

    def forward(self, pixels: Tensor, mask: Tensor, encode: PictureEncoder) -> FrameTokens:
        """Give one token a frame, with the mask as it came.

        Args:
            pixels: uint8 or float 0–255; what stands at masked places has no influence, [B, F, 3, S, S].
            mask: True where a frame is real, [B, F].
            encode: the picture tower; it sees the real frames only, or one black picture where there is none at all:
                under data parallelism the other ranks wait for this rank's part of its gradients.
        """
        tokens = _encode_real(pixels, mask, encode)
        if self.depth:
            some = mask | ~mask.any(1, keepdim=True)  # attention over nothing at all would be NaN
            tokens = tokens + self.gain * self._over_time(tokens + self.time[: mask.shape[1]], some)
        return FrameTokens(torch.where(mask.unsqueeze(-1), tokens, 0.0), mask)

    def _over_time(self, frames: Tensor, mask: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            again: Tensor = checkpoint(self.transformer, frames, mask, use_reentrant=False)
            return again
        seen: Tensor = self.transformer(frames, mask)
        return seen


def _encode_real(pixels: Tensor, mask: Tensor, encode: PictureEncoder) -> Tensor:
    """Encode the real frames in their places, zeros elsewhere: [B, F, 3, S, S] and [B, F] to [B, F, W]."""
    real = mask.flatten()
    chosen = real.clone()
    chosen[0] |= ~real.any()
    pictures = pixels.flatten(0, 1)[chosen]
    pictures = torch.where(real[chosen].view(-1, 1, 1, 1), pictures, 0)  # the black one
    encoded = encode(pictures)
    tokens = encoded.new_zeros(len(real), encoded.shape[1])
    tokens[chosen] = encoded
    placed: Tensor = tokens.unflatten(0, mask.shape)
    return placed
