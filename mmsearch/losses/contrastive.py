"""InfoNCE over a batch, with several positives masked instead of punished.

Letters: Q queries, V videos.
"""

from __future__ import annotations

import torch
from torch import Tensor


def info_nce(logits: Tensor, positives: Tensor, *, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """Give the symmetric contrastive loss of CLIP (arXiv:2103.00020, fig. 3; InfoNCE: arXiv:1807.03748, eq. 4).

    Query i belongs to video i. Where the batch holds further positives of the same query or video (`positives`
    off the diagonal), they are left out of the sum of that row or column: neither target nor negative.

    Args:
        logits: scaled scores, [B, B]; query i and video i are a pair.
        positives: True where a query and a video belong together, [B, B]; the diagonal counts as True anyhow.
        rows: True where pair i is to be learned, [B]; a pair left out still serves as a negative of others.
            None = all.
        columns: True where video i may be compared with at all (it has what this space reads), [B]. A video that
            may not is no negative, and its own pair is not learned. None = all.

    Returns:
        Mean of both directions over the learned pairs; 0 (with a gradient of zeros) when there is none.

    See also:
        pairwise_logistic: for graded judgments within a query.
    """
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    usable = torch.ones_like(own[0]) if columns is None else columns
    learned = usable if rows is None else rows & usable
    ignored = (positives & ~own) | ~usable.unsqueeze(0)
    to_video = logits.masked_fill(ignored & ~own, float("-inf"))
    to_query = logits.T.masked_fill(positives.T & ~own, float("-inf"))
    loss = _cross_entropy_of_own(to_video) + _cross_entropy_of_own(to_query)
    return torch.where(learned, loss, 0.0).sum() / (2 * learned.sum().clamp(min=1))


def _cross_entropy_of_own(logits: Tensor) -> Tensor:
    """-log softmax(row)[diagonal], [B]."""
    return logits.logsumexp(1) - logits.diagonal()
