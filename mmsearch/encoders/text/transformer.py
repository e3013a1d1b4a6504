"""The text tower: token ids to contextual tokens.

Letters: B batch, L tokens, W width.
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.nn import Transformer


class TextTowerSettings(Settings):
    """Sizes of a text transformer."""

    width: int = Field(default=768, ge=8)
    """W, divisible by `heads`."""
    depth: int = Field(default=12, ge=0)
    """Number of layers."""
    heads: int = Field(default=12, ge=1)
    """Attention heads."""
    max_length: int = Field(default=64, ge=2)
    """Longest text, in tokens."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout inside the layers."""

    def build(self, vocab_size: int) -> TextTower:
        """Make the tower for a vocabulary."""
        return TextTower(
            vocab_size,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            max_length=self.max_length,
            dropout=self.dropout,
        )


class TextTower(nn.Module):
    """Encode texts with a pre-norm transformer and learned positions.

    Args:
        vocab_size: number of token ids.
        width: W.
        depth: number of layers.
        heads: attention heads.
        max_length: longest text in tokens.
        dropout: inside the layers.
    """

    def __init__(
        self, vocab_size: int, *, width: int, depth: int, heads: int, max_length: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.max_length = width, max_length
        self.embed = nn.Embedding(vocab_size, width)
        self.position = nn.Parameter(torch.zeros(max_length, width))
        self.transformer = Transformer(width, depth, heads, dropout=dropout)
        nn.init.normal_(self.embed.weight, std=1.0)
        nn.init.normal_(self.position, std=0.05)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.transformer.blocks)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Give contextual tokens: ids [B, L] and mask (True = real) to [B, L, W]."""
        tokens = self.embed(ids) + self.position[: ids.shape[1]]
        encoded: Tensor = self.transformer(tokens, mask)
        return encoded

    def evenly_spaced(self, depth: int) -> TextTower:
        """Give a copy with `depth` of the layers, taken at even distances and ending with the last.

        This is how a student starts (PKD-skip, arXiv:1908.09355 section 3): of 12 layers, 3 are layers 4, 8, 12
        counted from 1. Embeddings, positions and the final norm are copied as they are.

        Raises:
            ConfigError: more layers are asked for than there are.
        """
        if not 1 <= depth <= self.depth:
            raise ConfigError(f"a student of {depth} layers cannot be taken from a teacher of {self.depth}")
        student = copy.deepcopy(self)
        kept = evenly_spaced_layers(self.depth, depth)
        student.transformer.blocks = nn.ModuleList(student.transformer.blocks[i] for i in kept)
        return student


def evenly_spaced_layers(total: int, kept: int) -> list[int]:
    """Give the numbers (from 0) of `kept` layers out of `total`, at even distances, the last one always among them."""
    return [(i + 1) * total // kept - 1 for i in range(kept)]
