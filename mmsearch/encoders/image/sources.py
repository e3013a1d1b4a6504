"""Where the weights of a picture tower come from: a published model, or a model that was trained here."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsearch.encoders.weights import locate, read_tensors
from mmsearch.errors import ConfigError

#: How names begin that belong to the picture tower of a match model.
_OURS = "document.image."


def read_source(
    source: str, prefer: tuple[str, ...] = ("model.safetensors", "open_clip_model.safetensors")
) -> tuple[dict[str, Tensor], bool]:
    """Read the weights of a path or hub name.

    Args:
        source: a safetensors file or folder of a published model, or of one that was trained here.
        prefer: see `read_tensors`.

    Returns:
        The tensors, and whether a picture tower of ours was found among them. Then they are that tower's alone, by
        its own names.

    Raises:
        ConfigError: there is nothing, or it is a pickle.
        DataError: the file is damaged.
    """
    tensors = read_tensors(locate(source), prefer)
    ours = {name.removeprefix(_OURS): tensor for name, tensor in tensors.items() if name.startswith(_OURS)}
    return (ours, True) if ours else (tensors, False)


def resample_positions(positions: Tensor, side: int, name: str) -> Tensor:
    """Bring learned positions of a class token and a square of patches to another number of patches.

    Bicubic and antialiased, as open_clip and timm do it. The class token's position stays as it is.

    Args:
        positions: [1 + N, W], N a square number.
        side: patches along a side of the new square.
        name: of the tensor, for messages.

    Returns:
        [1 + side², W]; the tensor itself where it has that size already.

    Raises:
        ConfigError: N is not a square number.
    """
    old = math.isqrt(len(positions) - 1)
    if old * old != len(positions) - 1:
        raise ConfigError(f"{name}: {len(positions)} positions are not a class token and a square of patches")
    if old == side:
        return positions
    square = positions[1:].float().T.reshape(1, -1, old, old)
    resampled = F.interpolate(square, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], resampled.flatten(2)[0].T.to(positions.dtype)])


def regions(patches: Tensor, side: int) -> Tensor:
    """Average a square of patches into side x side regions, both read row by row: [B, N, W] to [B, side², W].

    A side larger than the square's repeats patches.
    """
    rows = math.isqrt(patches.shape[1])
    square = patches.transpose(1, 2).unflatten(2, (rows, rows))
    return F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
