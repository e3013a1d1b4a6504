"""The match model: one document tower, and two query towers that are trained against it together.

Letters: Q queries, V videos, R pairs.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from mmsearch.encoders.text.layers import set_recomputing
from mmsearch.errors import ConfigError
from mmsearch.matching import paired_poly_scores
from mmsearch.models.document import SPACES, DocumentTokens, DocumentTower
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.query_tower import QueryTower
from mmsearch.models.settings import ModelSettings

#: Scores are never multiplied by more than this (CLIP's own bound, arXiv:2103.00020 section 2.5).
_MAX_LOG_SCALE = math.log(100.0)


class MatchModel(nn.Module):
    """Document tower, teacher and student query towers, one learned temperature a space, and maybe a cross-encoder.

    Args:
        settings: sizes of everything.
        vocab_size: number of token ids of the tokenizer.
        spaces: the spaces that are trained, and so validated, embedded and exported; None = all four.
    """

    def __init__(self, settings: ModelSettings, vocab_size: int, spaces: Collection[str] | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.spaces = tuple(name for name in SPACES if spaces is None or name in spaces)
        self.document = DocumentTower(settings, vocab_size)
        query = settings.query
        self.teacher = QueryTower(query.teacher.build(vocab_size), tuple(SPACES), settings.dim, query.pool)
        self.student = self.teacher.student(query.student_depth)
        if query.tie_embeddings:
            self.tie()
        # shape [1], not []: sharding optimisers cannot split a parameter without dimensions
        start = -math.log(settings.first_temperature)
        self.log_scale = nn.ParameterDict({name: nn.Parameter(torch.full((1,), start)) for name in SPACES})
        # last, so that everything else starts from the same numbers with and without it
        cross, text = settings.cross, self.document.text
        self.cross = None if cross is None else cross.build(self.teacher.text.width, text.width)
        self._adds_vectors = cross is not None and cross.add_vectors and "content" in self.spaces
        if self.cross is not None and self._adds_vectors:
            nn.init.zeros_(self.cross.head.weight)  # untrained, it ranks as the vectors do

    def tie(self) -> None:
        """Share token embeddings, and start from equal projections: equal words match before the first step."""
        self.document.text.embed = self.teacher.text.embed
        for space in ("perception", "content"):  # the spaces that read texts
            self.document.heads[space].load_state_dict(self.teacher.heads[space].state_dict())

    def renew_student(self) -> None:
        """Make the student anew from evenly spaced layers of the teacher as it is now (arXiv:1908.09355)."""
        self.student = self.teacher.student(self.settings.query.student_depth)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.log_scale.parameters()).device

    def set_checkpointing(self, on: bool) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        towers = (self.document.image, self.document.frame, self.document.text, self.teacher.text, self.student.text)
        for tower in towers:
            tower.set_checkpointing(on)
        if self.cross is not None:
            set_recomputing(self.cross.transformer.blocks, on)

    def cross_scores(
        self, queries: TextInputs, documents: DocumentInputs, query_of: Tensor, video_of: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score pairs by the cross-encoder; every query and video is encoded once, in however many pairs it is.

        With `cross.add_vectors` the score of the vectors is added, as the losses know it (scaled by the temperature).
        No gradient goes through it, so that the vectors are not bent towards what is read beside them.

        Args:
            queries: Q queries.
            documents: V videos.
            query_of: number of the query of each pair, [R].
            video_of: number of the video of each pair, [R].

        Returns:
            Scores [R], and which say something [R]: False where a video has nothing to read.

        Raises:
            ConfigError: the model has no cross-encoder.
        """
        if self.cross is None:
            raise ConfigError("the model has no cross-encoder; give model.cross, and train it")
        asked, query_of, video_of = queries.to(self.device), query_of.to(self.device), video_of.to(self.device)
        query = self.teacher.text(asked.ids, asked.mask)
        document = self.document.tokens(documents.to(self.device))
        tokens, mask = document.tokens[video_of], document.mask[video_of]
        scores: Tensor = self.cross(query[query_of], asked.mask[query_of], tokens, mask, document.modality)
        if self._adds_vectors:
            scores = scores + self._vector_scores(query, asked.mask, document, query_of, video_of)
        return scores, mask.any(1)

    @torch.no_grad()
    def _vector_scores(
        self, query: Tensor, query_mask: Tensor, document: DocumentTokens, query_of: Tensor, video_of: Tensor
    ) -> Tensor:
        """Give the teacher's scaled scores in `content`, [R]."""
        vectors = self.teacher.vectors(query, query_mask, ("content",))["content"]
        codes = self.document.fuse("content", document).codes
        with torch.autocast(self.device.type, enabled=False):  # a cosine in bf16, times 100, would be coarse
            each = paired_poly_scores(vectors[query_of].float(), codes[video_of].float(), self.settings.poly)
            return self.scale("content") * each

    def scale(self, space: str) -> Tensor:
        """Give what scores of a space are multiplied by in a loss (1 / temperature), [1]."""
        parameter: Tensor = self.log_scale[space]
        return parameter.exp()

    @torch.no_grad()
    def bound_scales(self) -> None:
        """Bring scales beyond 100 back to it; call it after every step.

        The parameters themselves are bounded: clamped inside `scale` they would get no gradient beyond the bound, and
        never come back.
        """
        for parameter in self.log_scale.values():
            parameter.clamp_(max=_MAX_LOG_SCALE)
