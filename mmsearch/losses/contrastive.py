"""InfoNCE over a batch, with several positives masked instead of punished.

Letters: B pairs of the batch (of all ranks), b pairs of this rank.
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
        info_nce_rows: the same in one direction for a slice of the batch, where several processes share it.
        pairwise_logistic, listwise_softmax: for graded judgments within a query.
    """
    usable = torch.ones(len(logits), dtype=torch.bool, device=logits.device) if columns is None else columns
    learned = usable if rows is None else rows & usable
    own = torch.arange(len(logits), device=logits.device)
    others = positives.scatter(1, own.unsqueeze(1), ~learned.unsqueeze(1))  # ignored: the other positives
    to_video = info_nce_rows(logits, own, others | ~usable)
    to_query = info_nce_rows(logits.T, own, others.T)
    return (to_video.sum() + to_query.sum()) / (2 * learned.sum().clamp(min=1))


def info_nce_rows(logits: Tensor, own: Tensor, ignored: Tensor) -> Tensor:
    """Give -log softmax(row)[own] of every row over the columns that are not ignored.

    One direction of `info_nce` for the rows of one rank. In training with W ranks each holds the scores of its own
    queries against the gathered videos, [b, B], and of its own videos against the gathered queries, [b, B], and never
    the square [B, B]. With both losses summed over the rank's learned pairs,

        L_rank = W * (sum(to_video) + sum(to_query)) / (2 * learned pairs of all ranks),

    the mean of L_rank over ranks is the loss of the whole batch, and the mean of the parameters' gradients over ranks
    is its gradient, provided that what was gathered carries gradient back to its rank (`mmsearch.nn.distributed`).

    Args:
        logits: scaled scores of these rows against all partners, [b, B].
        own: number of the column that belongs to each row, [b].
        ignored: True where a column is no negative of a row, [b, B]. A row whose own column is ignored is not
            learned.

    Returns:
        [b]; 0 with a gradient of zeros for a row that is not learned, whatever its scores, NaN included.
    """
    own = own.unsqueeze(1)
    learned = ~ignored.gather(1, own)
    # a row without any column left would give NaN gradients: rows that are not learned become constants instead
    filler = torch.where(learned, float("-inf"), 0.0).to(logits)
    kept = torch.where(ignored | ~learned, filler, logits)
    loss = kept.logsumexp(1) - kept.gather(1, own).squeeze(1)
    return torch.where(learned.squeeze(1), loss, 0.0)
