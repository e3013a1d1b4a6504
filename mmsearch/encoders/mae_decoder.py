"""The decoder of a masked autoencoder: from the tokens of visible patches to the pixels of all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmsearch.encoders.patches import sincos_positions
from mmsearch.nn import Transformer


class PixelDecoder(nn.Module):
    """Put a learned mask token where patches are missing, mix all, and say their pixels (arXiv:2111.06377, section 3).

    A module of its own, reached by its call alone: its mask token is then at hand wherever parameters are gathered in
    hooks (ZeRO-3).

    Args:
        tokens_width: width of the encoder's tokens, W.
        grid: rows and columns of patches; N is their product.
        pixels: numbers in a patch, P.
        width: a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: attention heads.
        prefix: class and register tokens in front of the patches; they have no place.
        norm: normalise the encoder's tokens first, for encoders that do not.
    """

    positions: Tensor

    def __init__(
        self,
        tokens_width: int,
        grid: tuple[int, int],
        pixels: int,
        *,
        width: int,
        depth: int,
        heads: int,
        prefix: int,
        norm: bool,
    ) -> None:
        super().__init__()
        self.prefix = prefix
        self.norm = nn.LayerNorm(tokens_width) if norm else nn.Identity()
        self.enter = nn.Linear(tokens_width, width)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.register_buffer("positions", sincos_positions(grid, width), persistent=False)
        self.transformer = Transformer(width, depth, heads)
        self.leave = nn.Linear(width, pixels)
        for linear in (self.enter, self.leave):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Give pixels of all patches: [B, prefix + K, W], and the numbers of the kept patches [B, K], to [B, N, P]."""
        # under automatic mixed precision the linear gives bfloat16: sums over blocks stay in the parameters' type
        entered = self.enter(self.norm(tokens)).to(self.mask_token.dtype)
        known = entered[:, self.prefix :]
        index = kept.unsqueeze(-1).expand_as(known)
        blank = self.mask_token.expand(len(kept), len(self.positions), -1)
        patches = blank.scatter(1, index, known) + self.positions.to(known.dtype)
        mixed = self.transformer(torch.cat([entered[:, : self.prefix], patches], 1))
        pixels: Tensor = self.leave(mixed[:, self.prefix :])
        return pixels
