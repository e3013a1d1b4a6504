"""What a stage learns: a task joins the model, a loss, and the data it needs.

Letters: B pairs, Q queries, R judged rows, D components.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings
from mmsearch.losses import embedding_distance, info_nce, pairwise_logistic
from mmsearch.matching import Selection, paired_poly_scores, poly_scores
from mmsearch.models.document import Codes
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.match import MatchModel
from training.augment import random_crop

SpaceName = Literal["cover", "frames", "perception", "content"]


class _TaskSettings(Settings):
    spaces: list[SpaceName] = Field(default=["cover", "frames", "perception", "content"], min_length=1)
    """Spaces that learn."""
    selection: Selection = "max"
    """How a query selects among the codes of a video in training; what is served is their mean."""
    distil_weight: float = Field(default=1.0, ge=0)
    """Weight of the distance between student and teacher."""
    min_crop: float = Field(default=0.85, gt=0, le=1)
    """Pictures are cropped at random to at least this share of their side; 1 = never."""


class ContrastiveSettings(_TaskSettings):
    """Pairs of a query and a video against the other videos of the batch."""

    type: Literal["contrastive"] = "contrastive"
    """Names the task."""
    pairs: Literal["titles", "clicks"] = "clicks"
    """`titles`: a video's own title is the query, and is hidden from the document tower. `clicks`: clicked videos."""
    satisfied_spaces: list[SpaceName] = ["frames", "content"]
    """With `clicks`, these learn only from clicks that satisfied (watch time, completion): the content domain."""


class GradedSettings(_TaskSettings):
    """Judged videos of one query against each other."""

    type: Literal["graded"] = "graded"
    """Names the task."""
    videos_per_query: int = Field(default=8, ge=2)
    """Judged videos drawn for each query of a batch."""


class Batch(Protocol):
    """What a step learns from: it knows its own losses."""

    def losses(self, model: MatchModel) -> dict[str, Tensor]:
        """Move to the model's device and give the losses of a step by name, `loss` their sum."""
        ...


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pairs: query i belongs to video i.

    Args:
        settings: of the task.
        queries: B queries.
        documents: B videos.
        positives: True where a query and a video are known to belong together, [B, B].
        satisfied: True where the pair may teach the content domain, [B].
    """

    settings: ContrastiveSettings
    queries: TextInputs
    documents: DocumentInputs
    positives: Tensor
    satisfied: Tensor

    def losses(self, model: MatchModel) -> dict[str, Tensor]:
        """Give the contrastive losses.

        For every space: InfoNCE(teacher, video) + InfoNCE(student, video) + distil_weight * ||student - teacher||^2;
        the document tower learns from both towers at once.
        """
        device, settings = model.device, self.settings
        positives, satisfied = self.positives.to(device), self.satisfied.to(device)

        def matching(query: Tensor, codes: Codes, space: str) -> Tensor:
            rows = satisfied if settings.pairs == "clicks" and space in settings.satisfied_spaces else None
            logits = model.scale(space) * poly_scores(query, codes.codes, settings.selection)
            return info_nce(logits, positives, rows=rows, columns=codes.present)

        return _both_towers(model, self.queries, self.documents, settings, matching)


@dataclass(frozen=True, slots=True)
class GradedBatch:
    """Judged rows.

    Args:
        settings: of the task.
        queries: Q queries.
        documents: R videos.
        query_of: number of the query of each row, [R].
        grades: [R].
    """

    settings: GradedSettings
    queries: TextInputs
    documents: DocumentInputs
    query_of: Tensor
    grades: Tensor

    def losses(self, model: MatchModel) -> dict[str, Tensor]:
        """Give, for every space, RankNet(teacher) + RankNet(student) + distil_weight * their distance."""
        query_of, grades = self.query_of.to(model.device), self.grades.to(model.device)

        def matching(query: Tensor, codes: Codes, space: str) -> Tensor:
            own = paired_poly_scores(query[query_of], codes.codes, self.settings.selection)
            seen = codes.present
            return pairwise_logistic(model.scale(space) * own[seen], grades[seen], query_of[seen])

        return _both_towers(model, self.queries, self.documents, self.settings, matching)


Matching = Callable[[Tensor, Codes, str], Tensor]


def _both_towers(
    model: MatchModel,
    queries: TextInputs,
    documents: DocumentInputs,
    settings: _TaskSettings,
    matching: Matching,
) -> dict[str, Tensor]:
    """Let both query towers learn against one document tower, and the student follow the teacher, in every space."""
    found = model.document(_augmented(documents.to(model.device), settings.min_crop), settings.spaces)
    queries = queries.to(model.device)
    teacher = model.teacher(queries.ids, queries.mask, settings.spaces)
    student = model.student(queries.ids, queries.mask, settings.spaces)
    losses: dict[str, Tensor] = {}
    with torch.autocast(model.device.type, enabled=False):  # a cosine in bf16, times 100, would be coarse
        for space, codes in found.items():
            losses |= _of_space(space, teacher[space].float(), student[space].float(), codes, settings, matching)
    return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def _of_space(
    space: str, teacher: Tensor, student: Tensor, codes: Codes, settings: _TaskSettings, matching: Matching
) -> dict[str, Tensor]:
    codes = Codes(codes.codes.float(), codes.present)
    return {
        f"teacher/{space}": matching(teacher, codes, space),
        f"student/{space}": matching(student, codes, space),
        f"distil/{space}": settings.distil_weight * embedding_distance(student, teacher),
    }


def _augmented(documents: DocumentInputs, min_crop: float) -> DocumentInputs:
    if min_crop >= 1:
        return documents
    frames = random_crop(documents.frames.flatten(0, 1), min_crop).view(documents.frames.shape)
    return replace(documents, cover=random_crop(documents.cover, min_crop), frames=frames)
