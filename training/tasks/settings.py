"""What all matching tasks have in common: spaces, towers that learn, augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.models.document import SPACES
from mmsearch.types import Modality
from training.augment import AugmentSettings

SpaceName = Literal["cover", "frames", "perception", "content"]


class CompatibleSettings(Settings):
    """An index of an older model that the new query vectors shall go with (arXiv:2003.11942)."""

    index: Path
    """Folder of a forward index; videos that it lacks are passed over. It is read through the whole run, also when a
    killed run goes on: give a copy where the served one is refreshed meanwhile."""
    generation: str | None = None
    """Name of the generation; None = the one that is served when the run starts."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the term beside the task's own losses; 0 = learn nothing from it, only measure (`old_pnr`)."""
    spaces: list[SpaceName] | None = Field(default=None, min_length=1)
    """Spaces that are to be compatible; None = those of the task that the index has."""
    old_queries: bool = False
    """The old query tower must find the new document vectors, too. Every query of a batch runs through its ONNX."""


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
    compatible: CompatibleSettings | None = None
    """Make query vectors that also find the documents of an older index; None = new ones alone."""

    @model_validator(mode="after")
    def _learns_something(self) -> MatchingSettings:
        if not (self.teacher_weight or self.student_weight or self.distil_weight):
            raise ValueError("teacher_weight, student_weight and distil_weight are all 0: nothing would be learned")
        if self.compatible is not None:
            if not (self.teacher_weight or self.student_weight):
                raise ValueError("compatible needs teacher_weight or student_weight: distances alone find no video")
            unknown = set(self.compatible.spaces or ()) - set(self.spaces)
            if unknown:
                raise ValueError(f"compatible.spaces: {', '.join(sorted(unknown))} is not among the task's spaces")
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
