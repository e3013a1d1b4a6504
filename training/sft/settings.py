"""Settings of fine-tuning a language model to pick key sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.sentences import SentenceSettings
from training.learner import Precision
from training.optim import Beta, OptimSettings


class PairsSettings(Settings):
    """What is learned from: transcripts and their key sentences."""

    pairs: Path
    """JSON Lines of `transcript`, `sentence_ids` (from 0) or `sentences` (verbatim), and `doc_id`, `title` if known."""
    val_pairs: Path | None = None
    """The same, to validate on; null = a share of `pairs`."""
    val_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of `pairs` that is validated on and not learned, chosen by a hash of the transcript; 0 = no validation."""


class BaseModelSettings(Settings):
    """The language model that is fine-tuned."""

    source: str
    """A local folder, or a name in the Hugging Face hub. Safetensors only; code that comes with a model never runs."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the frozen weights, and of the merged model. The adapter is trained in float32 in any case."""
    max_tokens: int = Field(default=4096, ge=64)
    """Most tokens of prompt and answer; longer examples are left out, with a warning that counts them."""


class LoraSettings(Settings):
    """Low-rank adaptation (LoRA, arXiv:2106.09685): W + alpha / rank * B A, with B and A learned and W frozen."""

    rank: int = Field(default=16, ge=1)
    """Rows of A."""
    alpha: float = Field(default=32.0, gt=0)
    """Strength of what is learned."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the inputs of A that are dropped."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Which linear layers: all but the output layer, or those whose names end so (`q_proj`, `v_proj`)."""


class LoraOptimSettings(OptimSettings):
    """How the adapter moves."""

    lr: float = Field(default=2e-4, gt=0)
    """Highest learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of the matrices of the adapter."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Of AdamW."""


class SftRunSettings(Settings):
    """Where a run goes, and how it runs."""

    dir: Path
    """Folder of the run: `adapter/`, `merged/`, `checkpoints/`, `metrics.jsonl`, `config.yaml`."""
    seed: int = 0
    """Of the adapter's first weights, the order of the pairs, dropout."""
    device: str = "auto"
    """`auto` (a GPU where there is one), cpu, cuda, cuda:1."""
    precision: Precision = "fp32"
    """Of the arithmetic: `bf16` = autocast."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass: a third more time for much less memory."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the end always makes one."""
    validate_every: int = Field(default=100, ge=1)
    """Steps between validations; there is one before the first step, and one at the end."""
    decoded: int = Field(default=200, ge=0)
    """Validation pairs that are answered in full, for exact match and Jaccard; 0 = none. The loss is of all."""
    select: Literal["loss", "jaccard", "exact"] = "loss"
    """Which validation figure keeps the best weights and ends the run."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics.jsonl."""
    tensorboard: bool = False
    """Write `tensorboard/` into the folder, too."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; null = as many as torch chooses. The same number gives the same bits."""


class SftSettings(Settings):
    """A run of fine-tuning."""

    run: SftRunSettings
    """Where it goes."""
    data: PairsSettings
    """What it learns from."""
    model: BaseModelSettings
    """What it starts from."""
    lora: LoraSettings = LoraSettings()
    """What is learned."""
    sentences: SentenceSettings = SentenceSettings()
    """How transcripts are split and shown, and the budget: as at extraction, or the model learns another task. What
    counts of it are the sizes, `segmenter`, `frequencies`, `greedy` and `select`."""
    steps: int = Field(default=500, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs of a step."""
    chunk_size: int = Field(default=4, ge=1)
    """Pairs that go through the model at a time; the gradient is that of the whole batch."""
    patience: int | None = Field(default=None, ge=1)
    """End after so many validations without a new best; null = never."""
    optim: LoraOptimSettings = LoraOptimSettings()
    """Rates and schedule."""

    @model_validator(mode="after")
    def _can_select(self) -> SftSettings:
        validated = self.data.val_pairs is not None or self.data.val_share > 0
        if self.patience is not None and not validated:
            raise ValueError("patience needs data.val_pairs or data.val_share")
        if self.run.select != "loss" and not self.run.decoded:
            raise ValueError(f"run.select: {self.run.select} needs run.decoded above 0")
        return self
