"""A query and a video read together: the cross-encoder learns from clicks, or from grades.

Letters: Q queries, V videos, R pairs and b lists of this process, K negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.losses import info_nce_rows, listwise_softmax, num_graded_lists, num_graded_pairs, pairwise_logistic
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import sum_over_ranks, world_size
from training.augment import AugmentSettings
from training.learner import Learner, Precision
from training.tasks.embedding import augmented

#: What its loss and its validation figure are called: it reads what the `content` space reads.
FIGURE = "cross/content"


class CrossSettings(Settings):
    """Pairs of a query and a video, read together by the model's cross-encoder.

    The towers below it learn as well, unless the stage says `train: [cross]`: then the vectors that are served stay.
    """

    type: Literal["cross"] = "cross"
    """Names the task."""
    spaces: tuple[()] = ()
    """None: no vectors are compared."""
    pairs: Literal["clicks", "grades"] = "clicks"
    """`clicks`: each clicked video against other videos of the batch; `grades`: judged videos of a query."""
    num_negatives: int = Field(default=7, ge=1)
    """Of `clicks`: other videos that a clicked one is compared with, drawn from those of its batch (of its process,
    where there are several) that nobody clicked for the query. The videos are encoded once for all pairs."""
    only_satisfied: bool = True
    """Of `clicks`: learn only from those that satisfied (watch time, completion), as the content domain does."""
    loss: Literal["pairwise", "listwise"] = "pairwise"
    """Of `grades`: `pairwise` (RankNet) or `listwise` (ListNet)."""
    videos_per_query: int = Field(default=8, ge=2)
    """Of `grades`: judged videos drawn for each query of a batch."""
    augment: AugmentSettings = AugmentSettings(min_crop=0.85)
    """Random changes of covers and frames."""


@dataclass(frozen=True, slots=True)
class CrossBatch:
    """Pairs of queries and videos.

    Args:
        settings: of the task.
        names: what to call them in an error: the clicks [b], or the judged rows [R].
        queries: Q queries.
        documents: V videos.
        query_of: number of the query of each pair, [R].
        video_of: number of the video of each pair, [R].
        grades: [R]. Of clicks, pairs come in b lists of 1 + K: a clicked video (1) and then others (0).
        usable: False where a pair may not be learned from, [R]; with a click its whole list is out.
    """

    settings: CrossSettings
    names: Sequence[str]
    queries: TextInputs
    documents: DocumentInputs
    query_of: Tensor
    video_of: Tensor
    grades: Tensor
    usable: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int | None) -> list[CrossBatch]:
        """Give the batch itself: its loss is not a function of representations, so it cannot be embedded in chunks."""
        del size
        return [self]

    def loss(self, scores: Tensor, present: Tensor) -> Tensor:
        """Give the loss of this process; averaged over processes it is that of the global batch.

        Of clicks, -log softmax of the clicked video's score among those of its list (LCE, arXiv:2101.08751, but with
        negatives from the batch); of grades, RankNet or ListNet over the rows of a query.

        Args:
            scores: [R].
            present: False where a video has nothing to read, [R]; its pairs are left out.
        """
        usable = self.usable.to(scores.device) & present
        total, count = (self._of_clicks if self.settings.pairs == "clicks" else self._of_grades)(scores, usable)
        return world_size() * total / sum_over_ranks(count).clamp(min=1)

    def _of_clicks(self, scores: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        lists, ignored = scores.view(len(self), -1), ~usable.view(len(self), -1)
        own = torch.zeros(len(self), dtype=torch.int64, device=scores.device)
        return info_nce_rows(lists, own, ignored).sum(), (~ignored[:, 0]).sum()

    def _of_grades(self, scores: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        labels = self.grades.to(scores.device)[usable], self.query_of.to(scores.device)[usable]
        one = torch.ones((), device=scores.device)
        if self.settings.loss == "pairwise":
            return pairwise_logistic(scores[usable], *labels, count=one), num_graded_pairs(*labels)
        return listwise_softmax(scores[usable], *labels, count=one), num_graded_lists(*labels)


class CrossLearner(Learner):
    """The model, called with pairs.

    Args:
        model: a model with a cross-encoder.
        precision: of the forward pass.

    Raises:
        ConfigError: the model has none.
    """

    def __init__(self, model: MatchModel, precision: Precision = "fp32") -> None:
        if model.cross is None:
            raise ConfigError("the model has no cross-encoder; give model.cross")
        super().__init__(model, precision)

    def forward(self, batch: CrossBatch) -> dict[str, Tensor]:
        """Give `loss` and `cross/content`, the same."""
        documents = augmented(batch.documents.to(self.model.device), batch.settings.augment)
        with self.autocast():
            scores, present = self.model.cross_scores(batch.queries, documents, batch.query_of, batch.video_of)
        loss = batch.loss(scores.float(), present)
        return {"loss": loss, FIGURE: loss}
