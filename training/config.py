"""Settings of a training run. Stages run in their order; each starts from what the one before it left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.models.settings import ModelSettings
from mmsearch.text import TokenizerSettings
from training.optim import OptimSettings
from training.tasks import ContrastiveSettings, GradedSettings


class DataSettings(Settings):
    """What a run learns from. Paths are relative to where the command is typed."""

    corpus: Path
    """A prepared corpus (`mmsearch prepare`)."""
    interactions: Path | None = None
    """The click log; needed by tasks with `pairs: clicks`."""
    judgments: Path | None = None
    """Grades to learn from; needed by graded tasks."""
    val_judgments: Path | None = None
    """Grades to validate on; None = no validation."""
    holdout: list[Path] = []
    """More judgments whose videos are never trained on (those of `val_judgments` never are)."""
    aspect: str = "overall"
    """Which aspect of the judgments counts."""
    min_watch_s: float = Field(default=10.0, ge=0)
    """A click satisfied if it was watched this long (or to the end of a shorter video) …"""
    min_completion: float = Field(default=0.3, ge=0, le=1)
    """… and to this share of the video's duration."""
    keep_unrecorded: bool = True
    """Count clicks without a watch time as satisfied."""
    videos: Path | None = None
    """The videos table, for durations (completion); None = durations unknown."""


class StageSettings(Settings):
    """One stage of training."""

    name: str
    """Name in logs and metrics."""
    task: Annotated[ContrastiveSettings | GradedSettings, Field(discriminator="type")]
    """What is learned."""
    steps: int = Field(ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=64, ge=1)
    """Pairs of a contrastive step; queries of a graded one."""
    optim: OptimSettings = OptimSettings()
    """Rates and schedule."""


class RunSettings(Settings):
    """Where a run goes and how it runs."""

    dir: Path
    """Folder of the run: model, metrics, checkpoints. A killed run goes on from its last checkpoint."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Of weights, order, dropout and augmentation."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` …"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 = automatic mixed precision."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the end of a stage always makes one."""
    validate_every: int = Field(default=100, ge=1)
    """Steps between validations; the end of a stage always has one."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics.jsonl."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; None = as many as torch chooses. The same number gives the same bits."""


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
