"""Pairs of a query and a video against the other videos of the global batch.

Letters: b pairs and v videos of this process, B pairs and V videos of all processes, K pairs of a video (b = vK), T
frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmsearch.losses import info_nce_rows
from mmsearch.matching import PolySettings, poly_scores
from mmsearch.models.document import EACH_FRAME, Codes
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import world_size
from training.representations import Representations
from training.tasks.compatible import OldVectors, compatible_losses
from training.tasks.embedding import chunks_of, codes_of, embed, losses_of
from training.tasks.settings import MatchingSettings, SpaceName


class ContrastiveSettings(MatchingSettings):
    """Pairs of a query and a video against the other videos of the batch."""

    type: Literal["contrastive"] = "contrastive"
    """Names the task."""
    pairs: Literal["titles", "clicks"] = "clicks"
    """`titles`: a video's own title is the query, and is hidden from the document tower. `clicks`: clicked videos."""
    satisfied_spaces: list[SpaceName] = ["frames", "content"]
    """With `clicks`, these learn only from clicks that satisfied (watch time, completion): the content domain."""
    queries_per_video: int = Field(default=1, ge=1)
    """Pairs that share a video in a batch: pictures cost more than queries, and are encoded once for all of them. The
    batch then holds batch_size / queries_per_video videos; an epoch goes over videos, their queries are drawn."""
    frame_weight: float = Field(default=0.0, ge=0)
    """Weight of the query-frame terms: every single frame must be closer to its query than frames of other videos."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pairs: query i belongs to video i // K.

    Args:
        settings: of the task.
        names: what to call the pairs of this process in an error, b.
        queries: b queries.
        documents: v videos.
        first: number of this process's first pair in the global batch.
        to_videos: True where a query of this process and a video of any belong together, [b, V].
        to_queries: True where the video of a pair of this process and a query of any belong together, [b, B].
        satisfied: True where the pair may teach the content domain, of all processes, [B].
        old: of all processes' queries and videos, what an old index has; None = none.
    """

    settings: ContrastiveSettings
    names: Sequence[str]
    queries: TextInputs
    documents: DocumentInputs
    first: int
    to_videos: Tensor
    to_queries: Tensor
    satisfied: Tensor
    old: OldVectors | None = None

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int | None) -> list[PairBatch]:
        """Cut into batches to embed one after another."""
        return [replace(self, queries=q, documents=d) for q, d in chunks_of(self.queries, self.documents, size)]

    def embed(self, model: MatchModel) -> Representations:
        """Give the representations of this process's pairs."""
        each_frame = self.settings.frame_weight > 0 and "frames" in self.settings.spaces
        return embed(model, self.queries, self.documents, self.settings, each_frame=each_frame)

    def losses(self, model: MatchModel, own: Representations) -> dict[str, Tensor]:
        """Give the contrastive losses of this process.

        For every space: InfoNCE(teacher, video) + InfoNCE(student, video) + distil_weight * ||student - teacher||^2;
        the document tower learns from both query towers at once. Negatives are the videos (and queries) of all
        processes; no process holds the square of the global batch.
        """
        everyone = own.gathered()

        def matching(tower: str, space: str) -> Tensor:
            codes = codes_of(everyone, space)
            loss = self._asked(model, own, everyone, tower, space, codes)
            if space == "frames" and self.settings.frame_weight > 0:
                loss = loss + self.settings.frame_weight * self._each_frame(model, own, everyone, tower)
            return loss

        def to_old(old: OldVectors, tower: str, space: str) -> Tensor:
            there = Codes(*(tensor.to(model.device) for tensor in old.codes[space]))
            # the temperature is the new model's to learn: old vectors, which cannot move, would cool it
            scale = model.scale(space).detach()
            return self._asked(model, own, everyone, tower, space, there, scale, old.polies[space])

        def from_old(old: OldVectors, space: str) -> Tensor:
            asked = old.queries[space].to(model.device)
            query = asked[self.first : self.first + len(self)]
            scale, poly = model.scale(space).detach(), model.settings.poly
            return self._info_nce(query, asked, codes_of(everyone, space), space, scale, poly)

        more = compatible_losses(self.settings, self.old, to_old, from_old)
        return losses_of(own, self.settings, matching, more)

    def _each_frame(self, model: MatchModel, own: Representations, everyone: Representations, tower: str) -> Tensor:
        """Average, over the places in time, InfoNCE between queries and the frames at that place."""
        frames = codes_of(everyone, EACH_FRAME)
        places = [Codes(frames.codes[:, t : t + 1], frames.present[:, t]) for t in range(frames.codes.shape[1])]
        found = [self._asked(model, own, everyone, tower, "frames", one) for one in places]
        return torch.stack(found).mean()

    def _asked(
        self,
        model: MatchModel,
        own: Representations,
        everyone: Representations,
        tower: str,
        space: str,
        codes: Codes,
        scale: Tensor | None = None,
        poly: PolySettings | None = None,
    ) -> Tensor:
        """Give the loss of a tower's queries against codes; with the model's own temperature and selection if none."""
        query, queries = own.vectors[f"{tower}/{space}"], everyone.vectors[f"{tower}/{space}"]
        scale = model.scale(space) if scale is None else scale
        return self._info_nce(query, queries, codes, space, scale, poly or model.settings.poly)

    def _info_nce(
        self, query: Tensor, queries: Tensor, codes: Codes, space: str, scale: Tensor, poly: PolySettings
    ) -> Tensor:
        """Give world * (sum over this process's learned rows, both directions) / (2 * learned pairs of all).

        A query of zeros says nothing: its pair is not learned, and it is nobody's negative.
        """
        device, copies = query.device, self.settings.queries_per_video
        pair = torch.arange(self.first, self.first + len(query), device=device)
        video = pair // copies
        to_videos = scale * poly_scores(query, codes.codes, poly)  # [b, V]
        if len(query) == len(queries):
            to_queries = to_videos.T
        else:
            to_queries = scale * poly_scores(queries, codes.codes[video[::copies]], poly).T  # [v, B]
        to_queries = to_queries.repeat_interleave(copies, 0)  # [b, B]
        silent = ~queries.any(1)
        rows = _rows(to_videos, video, self.to_videos.to(device), ~codes.present)
        rows = rows + _rows(to_queries, pair, self.to_queries.to(device), silent)
        learned = codes.present.repeat_interleave(copies) & self._may_teach(space).to(device) & ~silent
        return world_size() * torch.where(learned[pair], rows, 0.0).sum() / (2 * learned.sum().clamp(min=1))

    def _may_teach(self, space: str) -> Tensor:
        settings = self.settings
        if settings.pairs == "clicks" and space in settings.satisfied_spaces:
            return self.satisfied
        return torch.ones_like(self.satisfied)


def _rows(logits: Tensor, own: Tensor, positives: Tensor, unusable: Tensor) -> Tensor:
    """Give the loss of each row: other positives, and columns that may not be compared with, are left out."""
    return info_nce_rows(logits, own, (positives | unusable).scatter(1, own.unsqueeze(1), False))
