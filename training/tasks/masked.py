"""Covers (and frames) with most of their patches hidden, to be rebuilt: pre-training on one's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from mmsearch.encoders.mae import MaeSettings, MaskedAutoencoder
from mmsearch.models.match import MatchModel
from training.augment import AugmentSettings, augment
from training.learner import Learner, Precision
from training.tasks.embedding import share_of_rank


class MaskedSettings(MaeSettings):
    """Masked autoencoding of pictures (arXiv:2111.06377); trains the picture tower alone."""

    type: Literal["mae"] = "mae"
    """Names the task."""
    spaces: tuple[()] = ()
    """None: nothing is matched yet."""
    sources: list[Literal["cover", "frames"]] = Field(default=["cover"], min_length=1)
    """Pictures to learn from."""
    augment: AugmentSettings = AugmentSettings(min_crop=0.447, flip=0.5)
    """Random changes of pictures; the paper crops to at least a fifth of the area, and mirrors."""


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """Pictures.

    Args:
        settings: of the task.
        names: ids of their videos, P.
        pictures: uint8 pixels [P, 3, S, S].
    """

    settings: MaskedSettings
    names: Sequence[str]
    pictures: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, size: int | None) -> list[PictureBatch]:
        """Give the batch itself: its loss is not a function of representations, so it cannot be embedded in chunks."""
        del size
        return [self]


class MaskedLearner(Learner):
    """The picture tower with the decoder that rebuilds what it did not see.

    Args:
        model: the model; only its picture tower learns.
        settings: of the task.
        precision: of the forward pass.
    """

    def __init__(self, model: MatchModel, settings: MaskedSettings, precision: Precision = "fp32") -> None:
        super().__init__(model, precision)
        self.autoencoder: MaskedAutoencoder = settings.build(model.document.image).to(model.device)

    def forward(self, batch: PictureBatch) -> dict[str, Tensor]:
        """Give `loss` and `rebuild`, the same: the squared error of the hidden patches.

        Processes may have different numbers of pictures (frames): averaged, theirs is the loss of the global batch.
        """
        pictures = augment(batch.pictures.to(self.model.device), batch.settings.augment)
        with self.autocast():
            loss: Tensor = self.autoencoder(pictures)
        loss = loss.float() * share_of_rank(len(pictures), loss)
        return {"loss": loss, "rebuild": loss}
