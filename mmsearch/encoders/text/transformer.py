"""Our own text tower, trained from random weights: token ids to contextual tokens.

Letters: B batch, L tokens, W width.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.text.layers import pick_layers, set_recomputing
from mmsearch.encoders.text.sources import load_tower
from mmsearch.encoders.weights import LoadReport
from mmsearch.nn import Transformer


class TransformerTextSettings(Settings):
    """Sizes of a text transformer."""

    type: Literal["transformer"] = "transformer"
    """Our own tower."""
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
    weights: str | None = None
    """Weights to start from: the folder of a model trained here (its teacher), or a safetensors file of a tower."""

    def build(self, vocab_size: int) -> TransformerTextTower:
        """Make the tower for a vocabulary, with random weights."""
        return TransformerTextTower(
            vocab_size,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            max_length=self.max_length,
            dropout=self.dropout,
        )


class TransformerTextTower(nn.Module):
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

    def evenly_spaced(self, depth: int) -> TransformerTextTower:
        """Give a copy with `depth` of the layers, taken at even distances and ending with the last.

        This is how a student starts (PKD-skip, arXiv:1908.09355 section 3). Embeddings, positions and the final norm
        are copied as they are.

        Raises:
            ConfigError: more layers are asked for than there are.
        """
        student = copy.deepcopy(self)
        student.transformer.blocks = pick_layers(student.transformer.blocks, depth)
        return student

    def projection(self) -> Tensor | None:
        """Give None: this tower brings no projection into a joint space."""
        return None

    def set_checkpointing(self, on: bool) -> None:
        """Keep the inputs of layers alone while training, and recompute the rest in the backward pass."""
        set_recomputing(self.transformer.blocks, on)

    def load(self, source: str) -> LoadReport:
        """Fill in weights from a folder of a model trained here (its teacher's tower) or a file of a tower.

        Raises:
            ConfigError: there is nothing, or shapes do not fit.
        """
        return load_tower(self, source)
