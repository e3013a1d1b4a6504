"""What a stage learns: a task joins the model, a loss, and the data it needs."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from training.tasks.contrastive import ContrastiveSettings, PairBatch
from training.tasks.cross import CrossBatch, CrossLearner, CrossSettings
from training.tasks.graded import GradedBatch, GradedSettings
from training.tasks.masked import MaskedLearner, MaskedSettings, PictureBatch

TaskSettings = Annotated[
    Annotated[ContrastiveSettings, Tag("contrastive")]
    | Annotated[GradedSettings, Tag("graded")]
    | Annotated[CrossSettings, Tag("cross")]
    | Annotated[MaskedSettings, Tag("mae")],
    by_type("contrastive"),
]

__all__ = [
    "ContrastiveSettings",
    "CrossBatch",
    "CrossLearner",
    "CrossSettings",
    "GradedBatch",
    "GradedSettings",
    "MaskedLearner",
    "MaskedSettings",
    "PairBatch",
    "PictureBatch",
    "TaskSettings",
]
