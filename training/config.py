"""Settings of a training run. Stages run in their order; each starts from what the one before it left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from mmsearch.config import Settings, by_type
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.models.settings import ModelSettings
from mmsearch.text import TokenizerSettings
from training.comparison.settings import CompareSettings
from training.engines.zero_settings import DeepSpeedSettings
from training.learner import Precision
from training.optim import OptimSettings
from training.tasks import ContrastiveSettings, CrossSettings, GradedSettings, MaskedSettings, TaskSettings
from training.tasks.settings import SpaceName


class DataSettings(Settings):
    """What a run learns from, and what it is validated on."""

    root: Path | None = None
    """Folder that the paths below are taken from; None = where the command is typed."""
    corpus: Path | None = None
    """A prepared corpus (`mmsearch prepare`); None = prepare `videos` into the folder of the run first."""
    videos: Path | None = None
    """The videos table: to prepare from, and for durations (completion of clicks)."""
    prepare: PrepareSettings = PrepareSettings()
    """How to prepare, where there is no `corpus`."""
    interactions: Path | None = None
    """The click log; needed by tasks with `pairs: clicks`."""
    judgments: Path | None = None
    """Grades to learn from; needed by graded tasks, and by `cross` with `pairs: grades`."""
    val_judgments: Path | None = None
    """Grades to validate on, of videos of the corpus; they are never trained on. None = none."""
    val_videos: Path | None = None
    """A videos table for validation alone: by `val_interactions`, and of masked pictures; prepared like `videos`."""
    val_corpus: Path | None = None
    """The same as a prepared corpus."""
    val_interactions: Path | None = None
    """Pairs to validate on: for each query its own videos against all others of the validation corpus."""
    holdout: list[Path] = []
    """More judgments whose videos are never trained on (those of `val_judgments` never are)."""
    on_error: Literal["stop", "quarantine"] = "stop"
    """Bad rows of `interactions`, `judgments` and `val_interactions`: end the run, or list them in the run's folder
    `rejected_rows` and go on without. A bad row of `val_judgments` or `holdout` always ends it, for its video might be
    learned from; those of a table to prepare are up to `prepare.on_error`."""
    aspect: str = "overall"
    """Which aspect of the judgments counts."""
    min_watch_s: float = Field(default=10.0, ge=0)
    """A click satisfied if it was watched this long (or to the end of a shorter video) …"""
    min_completion: float = Field(default=0.3, ge=0, le=1)
    """… and to this share of the video's duration."""
    keep_unrecorded: bool = True
    """Count clicks without a watch time as satisfied."""

    @model_validator(mode="after")
    def _has_videos(self) -> DataSettings:
        if self.corpus is None and self.videos is None:
            raise ValueError("give data.corpus (a prepared corpus) or data.videos (a table to prepare)")
        if self.val_interactions is not None and self.val_corpus is None and self.val_videos is None:
            raise ValueError("val_interactions needs val_corpus or val_videos")
        return self

    def path(self, path: Path) -> Path:
        """Give a path as it is from where the command is typed."""
        return path if self.root is None else self.root / path


class StageData(Settings):
    """Data of one stage that is not the run's."""

    interactions: Path | None = None
    """The click log of this stage."""
    judgments: Path | None = None
    """The grades of this stage."""


class StartSettings(Settings):
    """Weights that a stage starts from, instead of those that the stage before left."""

    run: Path
    """A model folder (a finished run, or what `training export` wrote)."""
    parts: list[str] = []
    """Take only weights whose names begin so: `document.image`, `teacher` …; empty = all."""


class ReplaySettings(Settings):
    """Steps of an earlier stage mixed in, against forgetting (experience replay, arXiv:1811.11682)."""

    stage: str
    """Name of the earlier stage whose task and data are replayed."""
    share: float = Field(gt=0, lt=1)
    """Share of the steps."""


class StageSettings(Settings):
    """One stage of training."""

    name: str
    """Name in logs and metrics."""
    task: TaskSettings
    """What is learned."""
    data: StageData = StageData()
    """Data of this stage alone; what is not given here is the run's."""
    start_from: StartSettings | None = None
    """Weights to start from; None = those that the stage before left."""
    student_from_teacher: bool = False
    """Make the student anew from evenly spaced layers of the teacher first."""
    train: list[str] = []
    """Only parameters whose names begin so are trained (`document.fusions`, `student` …); empty = all."""
    freeze: list[str] = []
    """Parameters whose names begin so are not trained."""
    replay: ReplaySettings | None = None
    """Mix steps of an earlier stage in."""
    steps: int = Field(ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=64, ge=1)
    """Of all processes together: pairs of a contrastive step, queries of a graded one, videos of mae, and of a
    cross step clicks or judged queries."""
    chunk_size: int | None = Field(default=None, ge=1)
    """Queries and videos that a process embeds at a time (gradient caching, arXiv:2101.06983): memory for a batch of
    any size is that of one chunk, the gradient is the same, the time a third more. None = all at once."""
    patience: int | None = Field(default=None, ge=1)
    """End the stage after so many validations without a new best; None = never."""
    optim: OptimSettings = OptimSettings()
    """Rates and schedule."""

    @model_validator(mode="after")
    def _fits_its_task(self) -> StageSettings:
        if isinstance(self.task, MaskedSettings | CrossSettings) and self.chunk_size is not None:
            raise ValueError("chunk_size is for contrastive and graded tasks; lower batch_size instead")
        return self


class PlainSettings(Settings):
    """Plain PyTorch: one process, or those that torchrun started."""

    type: Literal["plain"] = "plain"
    """Names the engine."""


EngineSettings = Annotated[
    Annotated[PlainSettings, Tag("plain")] | Annotated[DeepSpeedSettings, Tag("deepspeed")], by_type("plain")
]


class RunSettings(Settings):
    """Where a run goes and how it runs."""

    dir: Path
    """Folder of the run: model, metrics, checkpoints. A killed run goes on from its last checkpoint."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Of weights, order, dropout and augmentation."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` …"""
    engine: EngineSettings = PlainSettings()
    """What moves the parameters."""
    precision: Precision = "fp32"
    """bf16 = encode under automatic mixed precision; parameters, gradients and losses stay fp32, in every engine."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Validate and keep an exponential moving average of the weights; None = the weights themselves."""
    select: SpaceName | None = None
    """Space by whose PNR each stage keeps its best weights: of the student, or of the teacher where it learns alone; on
    `val_judgments`, or else on `val_interactions`. None, or a space that a stage does not train: its last one. A cross
    stage goes by the cross-encoder's own, on `val_judgments`."""
    keep: Literal["best", "last"] = "best"
    """Weights that a stage leaves: of its best validation, or of its last step. Without validation the last."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the end of a stage always makes one."""
    validate_every: int = Field(default=100, ge=1)
    """Steps between validations; the end of a stage always has one."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics.jsonl."""
    tensorboard: bool = False
    """Write `tensorboard/` into the folder, too."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """Peak of one device at this precision, for model-FLOPs utilisation; None = known GPUs by their name."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; None = as many as torch chooses. The same number gives the same bits."""
    load_threads: int = Field(default=2, ge=1)
    """Threads of a process that make batches ahead, each one whole batch at a time: the memory of so many batches.
    A GPU may need more (see `wait_share` in metrics.jsonl); the result does not depend on it."""


class FitSettings(Settings):
    """A whole training run."""

    run: RunSettings
    """Where it goes."""
    data: DataSettings
    """What it learns from."""
    tokenizer: TokenizerSettings = TokenizerSettings()
    """Trained on the corpus, or given."""
    model: ModelSettings = ModelSettings()
    """The model's sizes."""
    stages: list[StageSettings] = Field(min_length=1)
    """Post-pretrain, clicks, judgments."""
    distillation: Literal["joint", "two_stage"] = "joint"
    """`joint`: teacher and student learn in the same steps. `two_stage`: all stages train the teacher alone, then the
    student learns from the finished teacher on the last contrastive stage's data, everything else frozen."""
    student_steps: int | None = Field(default=None, ge=1)
    """Steps of the student in `two_stage`; None = as many as the last contrastive stage has."""
    compare: CompareSettings | None = None
    """Variants that `training compare CONFIG` runs; `training fit` does not look at them."""

    @model_validator(mode="after")
    def _stages_fit_together(self) -> FitSettings:
        names = [stage.name for stage in self.stages]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two stages are named '{twice.pop()}'")
        for place, stage in enumerate(self.stages):
            earlier = {s.name: s for s in self.stages[:place]}
            if stage.replay is not None and stage.replay.stage not in earlier:
                raise ValueError(f"stage '{stage.name}' replays '{stage.replay.stage}', which is no earlier stage")
            if stage.replay is not None:
                task, other = stage.task, earlier[stage.replay.stage].task
                if isinstance(other, MaskedSettings | CrossSettings):
                    raise ValueError(f"stage '{stage.name}': a {other.type} stage cannot be replayed")
                if isinstance(task, MaskedSettings | CrossSettings):
                    raise ValueError(f"stage '{stage.name}': a {task.type} stage cannot replay another")
            if isinstance(stage.task, CrossSettings) and self.model.cross is None:
                raise ValueError(f"stage '{stage.name}' trains a cross-encoder: give model.cross its sizes")
        validated = self.data.val_judgments is not None or self.data.val_interactions is not None
        for stage in self.stages:
            if stage.patience is not None and not validated and not isinstance(stage.task, MaskedSettings):
                raise ValueError(f"stage '{stage.name}': patience needs data.val_judgments or data.val_interactions")
            if stage.patience is not None and isinstance(stage.task, CrossSettings) and not self.data.val_judgments:
                raise ValueError(f"stage '{stage.name}': patience of a cross stage needs data.val_judgments")
            if stage.chunk_size is not None and isinstance(self.run.engine, DeepSpeedSettings) and self._grades(stage):
                raise ValueError(
                    f"stage '{stage.name}': graded steps have no chunk_size under DeepSpeed, whose processes "
                    "must embed as many chunks each: they hold different numbers of judged videos"
                )
        if isinstance(self.run.engine, DeepSpeedSettings) and self.run.ema_decay is not None:
            raise ValueError("ema_decay is for the plain engine: under DeepSpeed the weights are split over processes")
        if self.distillation == "two_stage" and any(name.endswith("-student") for name in names):
            raise ValueError("with two_stage no stage may be named '…-student': the student's own stage is")
        if self.distillation == "two_stage" and self._last_contrastive() is None:
            raise ValueError("distillation: two_stage needs a contrastive stage for the student to learn on")
        return self

    @property
    def all_stages(self) -> list[StageSettings]:
        """The stages as they run: with `two_stage`, the teacher's and then the student's."""
        if self.distillation == "joint":
            return self.stages
        last = self._last_contrastive()
        if last is None:  # refused by the validator
            return self.stages
        weights = {"teacher_weight": 0.0, "student_weight": 1.0, "distil_weight": 1.0}
        student = last.model_copy(
            update={
                "name": f"{last.name}-student",
                "task": last.task.model_copy(update=weights),
                "start_from": None,
                "replay": None,
                "student_from_teacher": True,
                "train": ["student"],
                "freeze": [],
                "steps": self.student_steps or last.steps,
            }
        )
        return [*map(_teacher_alone, self.stages), student]

    def _grades(self, stage: StageSettings) -> bool:
        replayed = stage.replay.stage if stage.replay else None
        return any(isinstance(one.task, GradedSettings) for one in self.stages if one.name in (stage.name, replayed))

    def _last_contrastive(self) -> StageSettings | None:
        return next((stage for stage in reversed(self.stages) if isinstance(stage.task, ContrastiveSettings)), None)


def _teacher_alone(stage: StageSettings) -> StageSettings:
    if isinstance(stage.task, MaskedSettings | CrossSettings):
        return stage
    weights = {"teacher_weight": 1.0, "student_weight": 0.0, "distil_weight": 0.0}
    return stage.model_copy(update={"task": stage.task.model_copy(update=weights)})
