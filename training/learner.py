"""What an engine trains: the model with what a task adds to it, called with a batch.

The model is only ever reached by calling the learner: engines that split parameters over processes gather them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from mmsearch.models.match import MatchModel
from training.representations import Representations

Precision = Literal["fp32", "bf16"]


class Batch(Protocol):
    """What a step learns from, this process's part of it."""

    @property
    def names(self) -> Sequence[str]:
        """What to tell a person who looks for the batch: ids of videos, queries."""
        ...

    def chunks(self, size: int | None) -> Sequence[Batch]:
        """Cut into batches of at most `size` queries and videos each, to be embedded one after another."""
        ...

    def __len__(self) -> int:
        """Pairs, judged rows or pictures."""
        ...


class Learner(nn.Module):
    """A model and what a task adds to it (a decoder, say).

    Args:
        model: the model.
        precision: `bf16` = encode under automatic mixed precision; losses are always computed in fp32.
    """

    def __init__(self, model: MatchModel, precision: Precision = "fp32") -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def autocast(self) -> AbstractContextManager[object]:
        """Give the context that encoding runs in."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @torch.no_grad()
    def after_step(self) -> None:
        """Bring parameters back into their bounds; called after every step."""
        self.model.bound_scales()


class ChunkedLearner(Learner):
    """A learner whose batches may be embedded in chunks: representations first, then a loss on all of them."""

    def forward(
        self, batch: EmbeddedBatch, given: Representations | None = None, *, embed_only: bool = False
    ) -> dict[str, Tensor] | Representations:
        """Give the losses of a batch; with `embed_only` its representations; with `given` the losses of those."""
        if given is None:
            with self.autocast():
                given = batch.embed(self.model)
            # a cosine in bf16, times 100, would be coarse
            given = Representations({name: v.float() for name, v in given.vectors.items()}, given.present)
        return given if embed_only else batch.losses(self.model, given)


class EmbeddedBatch(Batch, Protocol):
    """A batch whose losses are a function of the representations of its queries and videos."""

    def embed(self, model: MatchModel) -> Representations:
        """Move to the model's device, augment, and give the representations."""
        ...

    def losses(self, model: MatchModel, own: Representations) -> dict[str, Tensor]:
        """Give the losses of this process by name, `loss` their sum: averaged over processes they are those of the
        global batch."""
        ...
