"""Which parameters a task cannot reach: they are left out of the optimizer, whatever the engine.

An engine that averages all gradients would decay them; one that splits parameters over processes would hold them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmsearch.models.document import SPACES
from mmsearch.models.match import MatchModel
from training.tasks import CrossSettings, MaskedSettings, TaskSettings
from training.tasks.settings import MatchingSettings


def unreached(model: MatchModel, tasks: Sequence[TaskSettings]) -> tuple[str, ...]:
    """Give the beginnings of the names of the parameters that none of some tasks gives a gradient.

    Args:
        model: the model.
        tasks: of a stage: its own, and one that it replays.
    """
    missed = [set(_unreached_by(model, task)) for task in tasks]
    return tuple(sorted(set.intersection(*missed)))


def _unreached_by(model: MatchModel, task: TaskSettings) -> Collection[str]:
    if isinstance(task, MaskedSettings):
        return [name for name, _ in model.named_parameters() if not name.startswith("document.image.")]
    if isinstance(task, CrossSettings):  # it reads the tokens of both sides, before any projection into a space
        return [*(f"{part}." for part in _parts_of_a_space()), "student."]
    spaces = set(task.spaces)
    missed = [f"{part}.{space}" for space in SPACES if space not in spaces for part in _parts_of_a_space()]
    missed += ["cross."]
    missed += [tower for tower in ("teacher", "student") if not _learns(task, tower)]
    if not (task.teacher_weight or task.student_weight):  # distillation alone compares query vectors
        missed += ["document.", "log_scale."]
    fused = bool(spaces & {"perception", "content"})
    frames = bool(spaces & {"frames", "content"})
    per_frame = model.settings.document.frames.type == "per_frame"
    reads = {
        "document.text": fused,
        "document.from_image": fused,
        "document.from_frame": "content" in spaces,
        "document.frame": frames,
        "document.image": bool(spaces & {"cover", "perception", "content"}) or (frames and per_frame),
    }
    return [*missed, *(f"{part}." for part, read in reads.items() if not read)]


def _parts_of_a_space() -> tuple[str, ...]:
    return ("document.heads", "document.fusions", "teacher.heads", "student.heads", "log_scale")


def _learns(task: MatchingSettings, tower: str) -> bool:
    if tower == "teacher":
        return task.teacher_weight > 0
    return task.student_weight > 0 or task.distil_weight > 0
