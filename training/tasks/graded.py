"""Judged videos of one query against each other.

Letters: Q queries and R judged rows of this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from mmsearch.losses import listwise_softmax, num_graded_lists, num_graded_pairs, pairwise_logistic
from mmsearch.matching import PolySettings, paired_poly_scores
from mmsearch.models.document import Codes
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import sum_over_ranks, world_size
from training.representations import Representations
from training.tasks.compatible import OldVectors, compatible_losses
from training.tasks.embedding import chunks_of, codes_of, embed, losses_of
from training.tasks.settings import MatchingSettings


class GradedSettings(MatchingSettings):
    """Judged videos of one query against each other."""

    type: Literal["graded"] = "graded"
    """Names the task."""
    loss: Literal["pairwise", "listwise"] = "pairwise"
    """`pairwise` (RankNet): every pair of different grades; `listwise` (ListNet): the whole list of a query at once."""
    videos_per_query: int = Field(default=8, ge=2)
    """Judged videos drawn for each query of a batch."""


@dataclass(frozen=True, slots=True)
class GradedBatch:
    """Judged rows.

    Args:
        settings: of the task.
        names: what to call the rows in an error, R.
        queries: Q queries.
        documents: R videos.
        query_of: number of the query of each row, [R].
        grades: [R].
        old: what an old index has of the queries and rows; None = none.
    """

    settings: GradedSettings
    names: Sequence[str]
    queries: TextInputs
    documents: DocumentInputs
    query_of: Tensor
    grades: Tensor
    old: OldVectors | None = None

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int | None) -> list[GradedBatch]:
        """Cut into batches to embed one after another."""
        return [replace(self, queries=q, documents=d) for q, d in chunks_of(self.queries, self.documents, size)]

    def embed(self, model: MatchModel) -> Representations:
        """Give the representations of this process's rows."""
        return embed(model, self.queries, self.documents, self.settings, each_frame=False)

    def losses(self, model: MatchModel, own: Representations) -> dict[str, Tensor]:
        """Give, for every space, ranking loss(teacher) + ranking loss(student) + distil_weight * their distance."""
        device = model.device
        query_of, grades = self.query_of.to(device), self.grades.to(device)
        pairwise = self.settings.loss == "pairwise"
        ranking, count = (pairwise_logistic, num_graded_pairs) if pairwise else (listwise_softmax, num_graded_lists)

        def ranked(query: Tensor, codes: Codes, scale: Tensor, poly: PolySettings) -> Tensor:
            asked = query[query_of]
            seen = codes.present & asked.any(1)  # a query of zeros says nothing
            scores = scale * paired_poly_scores(asked, codes.codes, poly)[seen]
            labels = grades[seen], query_of[seen]
            return world_size() * ranking(scores, *labels, count=sum_over_ranks(count(*labels)))

        def matching(tower: str, space: str) -> Tensor:
            query = own.vectors[f"{tower}/{space}"]
            return ranked(query, codes_of(own, space), model.scale(space), model.settings.poly)

        def to_old(old: OldVectors, tower: str, space: str) -> Tensor:
            there = Codes(*(tensor.to(device) for tensor in old.codes[space]))
            return ranked(own.vectors[f"{tower}/{space}"], there, model.scale(space).detach(), old.polies[space])

        def from_old(old: OldVectors, space: str) -> Tensor:
            query = old.queries[space].to(device)
            return ranked(query, codes_of(own, space), model.scale(space).detach(), model.settings.poly)

        more = compatible_losses(self.settings, self.old, to_old, from_old)
        return losses_of(own, self.settings, matching, more)
