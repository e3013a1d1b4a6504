"""From a batch's queries and videos to representations, and what every matching loss does with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mmsearch.losses import embedding_distance
from mmsearch.models.document import EACH_FRAME, Codes
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import sum_over_ranks, world_size
from mmsearch.types import Modality
from training.augment import AugmentSettings, augment
from training.representations import Representations
from training.tasks.settings import MatchingSettings


def embed(
    model: MatchModel, queries: TextInputs, documents: DocumentInputs, settings: MatchingSettings, *, each_frame: bool
) -> Representations:
    """Embed queries with the towers that learn and videos in the spaces that learn; either may be empty.

    Args:
        model: the model.
        queries: q queries.
        documents: v videos.
        settings: of the task.
        each_frame: also give one vector a frame, for query-frame terms.
    """
    vectors: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    if len(queries):
        moved = queries.to(model.device)
        for tower in settings.towers:
            found = getattr(model, tower)(moved.ids, moved.mask, settings.spaces)
            vectors |= {f"{tower}/{space}": vector for space, vector in found.items()}
    if len(documents):
        wanted = [*settings.spaces, *([EACH_FRAME] if each_frame else [])]
        read = augmented(_read(documents, settings).to(model.device), settings.augment)
        for space, codes in model.document(read, wanted).items():
            vectors[f"codes/{space}"], present[space] = codes.codes, codes.present
    return Representations(vectors, present)


def chunks_of(
    queries: TextInputs, documents: DocumentInputs, size: int | None
) -> Sequence[tuple[TextInputs, DocumentInputs]]:
    """Cut queries and videos into pieces of at most `size`; where one is used up, it is empty."""
    longest = max(len(queries), len(documents))
    if size is None or longest <= size:
        return [(queries, documents)]
    starts = range(0, longest, size)
    return [(queries.rows(at, at + size), documents.rows(at, at + size)) for at in starts]


def codes_of(given: Representations, space: str) -> Codes:
    """Give the codes of a space out of representations."""
    return Codes(given.vectors[f"codes/{space}"], given.present[space])


def losses_of(
    own: Representations,
    settings: MatchingSettings,
    matching: Callable[[str, str], Tensor],
    more: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Add up what the towers lose against the videos and what the student loses against the teacher.

    Args:
        own: this process's representations.
        settings: of the task.
        matching: gives the loss of a tower in a space.
        more: further losses by name, with their weights in them.

    Returns:
        Losses by name, `loss` their sum. Averaged over processes they are those of the global batch.
    """
    losses: dict[str, Tensor] = {}
    for space in settings.spaces:
        for tower in settings.towers:
            if settings.weight(tower) > 0:
                losses[f"{tower}/{space}"] = settings.weight(tower) * matching(tower, space)
        if settings.distil_weight > 0:
            losses[f"distil/{space}"] = settings.distil_weight * _distance(own, space)
    losses |= more
    return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def _distance(own: Representations, space: str) -> Tensor:
    student, teacher = own.vectors[f"student/{space}"], own.vectors[f"teacher/{space}"]
    return embedding_distance(student, teacher) * share_of_rank(len(student), student)


def share_of_rank(count: int, like: Tensor) -> Tensor:
    """Give this process's share of a count over all, times the number of processes: the weight of its mean."""
    everywhere = sum_over_ranks(torch.tensor(float(count), device=like.device))
    return world_size() * count / everywhere.clamp(min=1)


def _read(documents: DocumentInputs, settings: MatchingSettings) -> DocumentInputs:
    """Leave out the frames where no space reads them: most of the bytes that would be moved and augmented."""
    if Modality.FRAMES in settings.reads:
        return documents
    return replace(documents, frames=documents.frames[:, :0], has_frame=documents.has_frame[:, :0])


def augmented(documents: DocumentInputs, settings: AugmentSettings) -> DocumentInputs:
    """Give the videos with their covers and frames changed at random."""
    frames = augment(documents.frames.flatten(0, 1), settings)
    cover = augment(documents.cover, settings)
    return replace(documents, cover=cover, frames=frames.view(documents.frames.shape))
