"""The query tower: a query to one vector a space. Teacher and student differ in depth alone.

Letters: Q queries, L tokens, W width, D components.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mmsearch.encoders import TextTower
from mmsearch.nn import masked_mean

Pool = Literal["mean", "first", "last"]


class QueryTower(nn.Module):
    """Encode a query once, and project it into every space.

    Args:
        text: the text tower.
        spaces: names of the spaces.
        dim: D.
        pool: what stands for the whole query: the `mean` of its tokens, the `first`, as BERT has it, or the `last` real
            one, as CLIP has it.
    """

    def __init__(self, text: TextTower, spaces: Sequence[str], dim: int, pool: Pool = "mean") -> None:
        super().__init__()
        self.text, self.pool = text, pool
        self.heads = nn.ModuleDict({name: nn.Linear(text.width, dim, bias=False) for name in spaces})

    def forward(self, ids: Tensor, mask: Tensor, spaces: Collection[str] | None = None) -> dict[str, Tensor]:
        """Give L2-normalised vectors by space: ids and mask [Q, L] to [Q, D] each. None = all spaces."""
        return self.vectors(self.text(ids, mask), mask, spaces)

    def vectors(self, tokens: Tensor, mask: Tensor, spaces: Collection[str] | None = None) -> dict[str, Tensor]:
        """Give the same from the tokens of the text tower, [Q, L, W]."""
        whole = self._pooled(tokens, mask)
        wanted = self.heads.keys() if spaces is None else spaces
        return {name: F.normalize(self.heads[name](whole), dim=-1) for name in wanted}

    def _pooled(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.pool == "mean":
            return masked_mean(tokens, mask)
        if self.pool == "first":
            return tokens[:, 0]
        last = (mask.sum(1) - 1).clamp(min=0)
        return tokens.gather(1, last.view(-1, 1, 1).expand(-1, 1, tokens.shape[2])).squeeze(1)

    def student(self, depth: int) -> QueryTower:
        """Give a shallower copy: `depth` evenly spaced layers (arXiv:1908.09355), the same heads to start from."""
        smaller = copy.deepcopy(self)
        smaller.text = self.text.evenly_spaced(depth)
        return smaller
