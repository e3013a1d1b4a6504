"""What clip towers share: missing frames filled, pixels normalised, tokens masked; the trunk between is theirs.

Letters: B videos, P videos that are encoded, F frames, S side in pixels, T temporal positions, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmsearch.encoders.video.sources import read_source
from mmsearch.encoders.video.tokens import FrameTokens, PictureEncoder
from mmsearch.encoders.weights import LoadReport, load_into


class Trunk(nn.Module):
    """A network from normalised clips [P, 3, F, S, S] to one vector a temporal position [P, T, W]."""

    width: int
    frames_per_token: int

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False

    def run(self, block: nn.Module, clips: Tensor) -> Tensor:
        """Call a block; with checkpointing on, keep nothing that is inside it for the backward pass."""
        if self.checkpointing and torch.is_grad_enabled():
            return recomputed(block, clips)
        given: Tensor = block(clips)
        return given


@dataclass(frozen=True)
class Published:
    """What must be known of the published weights of a trunk."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: str  # tensors whose names begin so are the classifier's


class ClipTower(nn.Module):
    """Encode the frames of a video as one clip.

    A missing frame is replaced by the real one before it (at the beginning by the first real one), and so is what an
    odd number of frames lacks to fill its last token. A token is real if any of its frames is. Videos without a real
    frame are left out; where a whole batch has none, one black clip is encoded for nothing, because under data
    parallelism the other ranks wait for this rank's part of the gradients.

    Args:
        trunk: the network; it is the module `trunk`, and its state dict is named as published.
        published: pixel statistics and classifier of the published weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Trunk, published: Published) -> None:
        super().__init__()
        self.trunk = trunk
        self.width, self.head = trunk.width, published.head
        self.register_buffer("mean", torch.tensor(published.mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(published.std).view(3, 1, 1, 1), persistent=False)

    def set_checkpointing(self, on: bool) -> None:
        """Recompute each block in the backward pass: less memory, about a third more time."""
        self.trunk.checkpointing = on

    def load(self, source: str) -> LoadReport:
        """Fill in weights by name, and log what was taken; those of the classifier are left aside.

        Args:
            source: a file, folder or hub name with published weights, or a model trained here.

        Raises:
            ConfigError: there is no such source, or it does not fit; every mismatch is named.
            DataError: the file is damaged.
        """
        tensors = {k: v for k, v in read_source(source, "trunk.").items() if not k.startswith(self.head)}
        report = load_into(self.trunk, tensors, source)
        report.log()
        return report

    def forward(self, pixels: Tensor, mask: Tensor, encode: PictureEncoder) -> FrameTokens:  # noqa: ARG002 (the interface)
        """Give one token a temporal position.

        Args:
            pixels: uint8 or float 0–255; what stands at masked places has no influence, [B, F, 3, S, S].
            mask: True where a frame is real, [B, F].
            encode: not used: this tower has a network of its own.
        """
        seen = mask.any(1)
        chosen = seen.clone()
        chosen[0] |= ~seen.any()
        places, real = _fill(mask, self.trunk.frames_per_token)
        clips = pixels[chosen.nonzero(), places[chosen]]  # [P, F', 3, S, S]
        clips = torch.where(seen[chosen].view(-1, 1, 1, 1, 1), clips, 0)
        clips = (clips.transpose(1, 2).to(self.mean.dtype) / 255.0 - self.mean) / self.std
        with nullcontext() if seen.any() else still_statistics(self.trunk):
            encoded = self.trunk(clips)
        tokens = encoded.new_zeros(len(mask), *encoded.shape[1:])
        tokens[chosen] = encoded
        return FrameTokens(torch.where(real.unsqueeze(-1), tokens, 0.0), real)


def _fill(mask: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Say which frame stands at each place of a clip of T * `step` frames, and which of its T tokens are real.

    The places are [B, T * step], the tokens [B, T]; a row without a real frame has place 0 everywhere.
    """
    missing = -mask.shape[1] % step
    mask = torch.cat([mask, mask.new_zeros(len(mask), missing)], 1)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    before = torch.where(mask, places, -1).cummax(1).values
    first = mask.int().argmax(1, keepdim=True)
    return torch.where(before < 0, first, before), mask.unflatten(1, (-1, step)).any(2)


def recomputed(block: nn.Module, clips: Tensor) -> Tensor:
    """Call a block without keeping what is inside for the backward pass, which computes it again.

    Batch normalisation would count every batch twice so; its statistics stand still the second time.
    """
    again: Tensor = checkpoint(
        block, clips, use_reentrant=False, context_fn=lambda: (nullcontext(), still_statistics(block))
    )
    return again


@contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch normalisation count into copies of its running statistics, which are then thrown away."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers()]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
