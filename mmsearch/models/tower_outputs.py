"""What the towers give of videos before anything is fused, and how it is kept for the next refresh.

Letters: B videos, N tokens, T temporal positions, R regions of a cover, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmsearch.protocols import Float32
from mmsearch.types import Modality

#: The modalities whose towers read pictures, which is nearly all that a refresh costs: their outputs can be kept.
PICTURES: tuple[Modality, ...] = (Modality.COVER, Modality.FRAMES)


class Tokens(NamedTuple):
    """Tokens of videos [B, N, W] and which of them are real [B, N]; what the others hold never reaches a vector."""

    tokens: Tensor
    mask: Tensor


class TowerOutputs(NamedTuple):
    """What towers give of B videos; what was not asked for is absent.

    Args:
        texts: of each text, by the text tower, [B, L, W of the text tower].
        cover: the cover and then its regions, by the picture tower, [B, 1 (+ R), W of the picture tower].
        frames: by the frame tower, [B, T, W of the frame tower].
    """

    texts: dict[Modality, Tokens]
    cover: Tokens | None
    frames: Tokens | None


class Reused(NamedTuple):
    """Outputs of a picture tower that were kept: of which videos of a batch [B], and theirs, in order."""

    rows: Tensor
    outputs: Tokens


def to_reused(kept: Mapping[int, Float32], batch_size: int, device: torch.device) -> Reused | None:
    """Give outputs as `to_kept` gave them to the tower that is asked next; None = there are none.

    Args:
        kept: by place in the batch; all of one shape.
        batch_size: B.
        device: where the tower is.
    """
    if not kept:
        return None
    rows = torch.zeros(batch_size, dtype=torch.bool)
    rows[list(kept)] = True
    stacked = torch.from_numpy(np.stack([kept[place] for place in sorted(kept)])).to(device)
    return Reused(rows.to(device), Tokens(stacked[..., :-1].contiguous(), stacked[..., -1] > 0))


def to_kept(outputs: Tokens) -> dict[int, Float32]:
    """Give the outputs of each video that has any, by its place: float32 [N, W + 1]; last column: 1 = a real token."""
    both = torch.cat([outputs.tokens.float(), outputs.mask.unsqueeze(-1).float()], -1).cpu().numpy()
    return {place: both[place] for place in outputs.mask.any(1).nonzero().flatten().tolist()}


def placed(outputs: Tokens, rows: Tensor) -> Tokens:
    """Put the outputs of some videos in their places in a batch [B]; the others have no real token."""
    tokens = outputs.tokens.new_zeros(len(rows), *outputs.tokens.shape[1:])
    mask = outputs.mask.new_zeros(len(rows), *outputs.mask.shape[1:])
    tokens[rows], mask[rows] = outputs.tokens, outputs.mask
    return Tokens(tokens, mask)


def joined(fresh: Tokens | None, reused: Reused) -> Tokens:
    """Put what was kept in its places beside what the tower gave now; None = it was not run."""
    old = placed(reused.outputs, reused.rows)
    if fresh is None:
        return old
    tokens = torch.where(reused.rows[:, None, None], old.tokens, fresh.tokens)
    return Tokens(tokens, torch.where(reused.rows[:, None], old.mask, fresh.mask))
