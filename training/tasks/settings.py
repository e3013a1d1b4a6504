"""What all matching tasks have in common: spaces, towers that learn, augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.models.document import SPACES
from mmsearch.types import Modality
from training.augment import AugmentSettings

SpaceName = Literal["cover", "frames", "perception", "content"]


class MatchingSettings(Settings):
    """Weights of the losses and what they are computed on."""

    spaces: list[SpaceName] = Field(default=["cover", "frames", "perception", "content"], min_length=1)
    """Spaces that learn."""
    teacher_weight: float = Field(default=1.0, ge=0)
    """Weight of the teacher's loss against the videos; 0 = the teacher learns nothing."""
    student_weight: float = Field(default=1.0, ge=0)
    """Weight of the student's loss against the videos."""
    distil_weight: float = Field(default=1.0, ge=0)
    """Weight of the distance between student and teacher."""
    augment: AugmentSettings = AugmentSettings(min_crop=0.85)
    """Random changes of covers and frames."""

    @model_validator(mode="after")
    def _learns_something(self) -> MatchingSettings:
        if not (self.teacher_weight or self.student_weight or self.distil_weight):
            raise ValueError("teacher_weight, student_weight and distil_weight are all 0: nothing would be learned")
        return self

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the query towers that have to run."""
        teacher = self.teacher_weight > 0 or self.distil_weight > 0
        student = self.student_weight > 0 or self.distil_weight > 0
        return tuple(name for name, runs in (("teacher", teacher), ("student", student)) if runs)

    @property
    def reads(self) -> frozenset[Modality]:
        """Modalities of a video that some space reads."""
        return frozenset(modality for space in self.spaces for modality in SPACES[space])

    def weight(self, tower: str) -> float:
        """Give the weight of a tower's loss against the videos."""
        return self.teacher_weight if tower == "teacher" else self.student_weight
