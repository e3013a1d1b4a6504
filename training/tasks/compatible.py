"""New vectors that go with those of an old index: backward-compatible training.

Letters: Q queries, V videos, M codes, D components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mmsearch.matching import PolySettings
from mmsearch.models.document import Codes
from training.tasks.settings import MatchingSettings


@dataclass(frozen=True, slots=True)
class OldVectors:
    """What an old index has of a batch: constants, nothing of it learns.

    Args:
        codes: of the videos by space, [V, M, D] and present [V]. A video that the index does not hold, or that has
            nothing there in a space, is not present.
        polies: by space, how a query selects among the codes, as the old query tower says.
        queries: vectors of the queries by the old query tower, by space, [Q, D]; of zeros where a query says nothing.
            Empty unless `old_queries`.
    """

    codes: Mapping[str, Codes]
    polies: Mapping[str, PolySettings]
    queries: Mapping[str, Tensor]


def compatible_losses(
    settings: MatchingSettings,
    old: OldVectors | None,
    to_old: Callable[[OldVectors, str, str], Tensor],
    from_old: Callable[[OldVectors, str], Tensor],
) -> dict[str, Tensor]:
    """Give the losses that tie a model to an old one, by name; none without an old index.

    Backward-compatible training (BCT, arXiv:2003.11942, eq. 3) adds to a model's own loss the same loss against what
    the old model left. There an old classifier judges the new features; here, where there are no classes, the old
    document vectors of the batch stand in for it: new queries must find them among the old vectors of other videos.
    With `old_queries`, the old query vectors must find the new document vectors as well, so that both kinds of
    documents can be compared under one query tower, whichever it is.

    Args:
        settings: of the task.
        old: what the index has of the batch.
        to_old: gives the loss of a query tower against the old vectors in a space.
        from_old: gives the loss of old queries against the new vectors in a space.

    Returns:
        `compatible/TOWER/SPACE` and, with `old_queries`, `compatible/documents/SPACE`, with their weights in them.
    """
    told = settings.compatible
    if old is None or told is None:
        return {}
    losses: dict[str, Tensor] = {}
    for space in old.codes:
        for tower in settings.towers:
            if settings.weight(tower) > 0:
                losses[f"compatible/{tower}/{space}"] = told.weight * settings.weight(tower) * to_old(old, tower, space)
        if told.old_queries:
            losses[f"compatible/documents/{space}"] = told.weight * from_old(old, space)
    return losses
