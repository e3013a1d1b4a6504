"""Patches of pictures: cutting, putting together, choosing, dropping, and where they lie.

Letters: B batch, C channels, S side in pixels, N patches, P numbers in a patch (height x width x C), W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def patchify(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut pictures into patches, read row by row: [B, C, S, S] to [B, N, P].

    Args:
        pictures: [B, C, S, S].
        size: height and width of a patch; both divide S.

    Returns:
        Pixels of a patch row by row, the channels of a pixel side by side, as in arXiv:2111.06377's code.
    """
    count, channels, height, width = pictures.shape
    rows, columns = height // size[0], width // size[1]
    cut = pictures.reshape(count, channels, rows, size[0], columns, size[1])
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(count, rows * columns, size[0] * size[1] * channels)


def unpatchify(patches: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Put patches together again, the inverse of `patchify`: [B, N, P] to [B, C, S, S].

    Args:
        patches: [B, N, P].
        size: height and width of a patch.
        grid: rows and columns of patches.
    """
    cut = patches.reshape(len(patches), *grid, *size, patches.shape[-1] // (size[0] * size[1]))
    channels = cut.shape[-1]
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), channels, grid[0] * size[0], grid[1] * size[1])


def draw_kept(count: int, patches: int, kept: int, device: torch.device, seed: int | None = None) -> Tensor:
    """Draw which patches of every picture stay visible, each picture for itself, uniformly without replacement.

    Args:
        count: pictures, B.
        patches: patches of a picture, N.
        kept: patches that stay, K.
        device: where the numbers are drawn (from torch's global generator of it) and the result lies.
        seed: draw from a generator of its own on the CPU instead, which gives the same on every device.

    Returns:
        Numbers of the kept patches, rising, [B, K].
    """
    if seed is None:
        noise = torch.rand(count, patches, device=device)
    else:
        noise = torch.rand(count, patches, generator=torch.Generator().manual_seed(seed)).to(device)
    return noise.argsort(1)[:, :kept].sort(1).values


class KeepPatches(nn.Module):
    """Stand where a ViT of timm drops patches (after the position embedding), and keep those that somebody named.

    The ViT is then reached by an ordinary call, so that hooks on it and its modules run (DeepSpeed's ZeRO-3 gathers
    parameters in them). It has no parameters: the ViT's state keeps its keys.

    Args:
        otherwise: what does the work while nobody has named any: the module that stood here, as a rule the identity.
        prefix: class and register tokens in front of the patches, which always stay.
    """

    def __init__(self, otherwise: nn.Module, prefix: int) -> None:
        super().__init__()
        self.otherwise, self.prefix = otherwise, prefix
        self._kept: Tensor | None = None

    @contextmanager
    def keeping(self, kept: Tensor) -> Iterator[None]:
        """Keep these patches, [B, K], in the passes made while the block runs."""
        self._kept = kept
        try:
            yield
        finally:
            self._kept = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the prefix, then the kept patches by their numbers: [B, prefix + N, W] to [B, prefix + K, W]."""
        if self._kept is None:
            unchanged: Tensor = self.otherwise(tokens)
            return unchanged
        index = self._kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        return torch.cat([tokens[:, : self.prefix], tokens[:, self.prefix :].gather(1, index)], 1)


def sincos_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Give fixed codes of places in a grid: sines and cosines of the column, then of the row.

    As in arXiv:2111.06377's code: of each coordinate x, sin(x f) and cos(x f) at f = 10000^(-4i / W), i = 0 … W/4 - 1
    (arXiv:1706.03762, section 3.5, once a coordinate).

    Args:
        grid: rows and columns.
        width: W, divisible by 4.

    Returns:
        [rows * columns, W], float32, row by row.
    """
    frequencies = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    angles = [place.reshape(-1, 1) * frequencies for place in (column, row)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1).float()
