"""The query tower: a query to one vector a space. Teacher and student differ in depth alone.

Letters: Q queries, L tokens, W width, D components.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmsearch.encoders import TextTower


class QueryTower(nn.Module):
    """Encode a query once, and project it into every space.

    Args:
        text: the text tower.
        spaces: names of the spaces.
        dim: D.
    """

    def __init__(self, text: TextTower, spaces: Sequence[str], dim: int) -> None:
        super().__init__()
        self.text = text
        self.heads = nn.ModuleDict({name: nn.Linear(text.width, dim, bias=False) for name in spaces})

    def forward(self, ids: Tensor, mask: Tensor, spaces: Collection[str] | None = None) -> dict[str, Tensor]:
        """Give L2-normalised vectors by space: ids and mask [Q, L] to [Q, D] each. None = all spaces."""
        whole = self.text(ids, mask)[:, 0]
        wanted = self.heads.keys() if spaces is None else spaces
        return {name: F.normalize(self.heads[name](whole), dim=-1) for name in wanted}

    def student(self, depth: int) -> QueryTower:
        """Give a shallower copy: `depth` evenly spaced layers (arXiv:1908.09355), the same heads to start from."""
        smaller = copy.deepcopy(self)
        smaller.text = self.text.evenly_spaced(depth)
        return smaller
