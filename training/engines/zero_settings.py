"""Settings of the DeepSpeed engine, and DeepSpeed's own configuration made from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.errors import ConfigError


class DeepSpeedSettings(Settings):
    """ZeRO: the optimizer's state, gradients and parameters are split over the processes (arXiv:1910.02054)."""

    type: Literal["deepspeed"] = "deepspeed"
    """Names the engine."""
    zero_stage: int = Field(default=2, ge=0, le=3)
    """What is split: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 parameters too."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What waits in the memory of the CPU: `optimizer` (from stage 1 on) its state and update, `parameters` (stage 3)
    the parameters as well."""
    reduce_bucket_size: int = Field(default=50_000_000, ge=1)
    """Gradients are averaged in buckets of about this many elements."""
    allgather_bucket_size: int = Field(default=50_000_000, ge=1)
    """Stages 1 and 2: updated parameters are collected in buckets of about this many elements."""
    prefetch_bucket_size: int = Field(default=50_000_000, ge=0)
    """Stage 3: how many elements of parameters are fetched ahead of their use."""
    persistence_threshold: int = Field(default=100_000, ge=0)
    """Stage 3: parameters of at most this many elements stay whole in every process."""
    overlap: bool = True
    """Stages 2 and 3: average gradients while the backward pass still runs."""

    @model_validator(mode="after")
    def _offload_needs_a_stage(self) -> DeepSpeedSettings:
        least = {"none": 0, "optimizer": 1, "parameters": 3}[self.offload]
        if self.zero_stage < least:
            raise ValueError(f"offload: {self.offload} needs zero_stage {least} or more (it is {self.zero_stage})")
        return self

    def to_dict(self, *, clip_norm: float) -> dict[str, Any]:
        """Give DeepSpeed's configuration.

        There is no `bf16` section: the learner encodes under automatic mixed precision, as it does in the plain
        engine, and parameters stay float32; DeepSpeed's own would round frozen parameters for good.

        Args:
            clip_norm: longest gradient, over all parameters.

        Raises:
            ConfigError: clip_norm is 0, which DeepSpeed reads as no clipping.
        """
        if clip_norm <= 0:
            raise ConfigError(f"clip_norm must be positive, it is {clip_norm}")
        zero: dict[str, Any] = {
            "stage": self.zero_stage,
            # stage 1 would then average only what the last of several backward passes reaches
            "overlap_comm": self.overlap and self.zero_stage >= 2,
            "reduce_bucket_size": self.reduce_bucket_size,
            "allgather_bucket_size": self.allgather_bucket_size,
        }
        if self.zero_stage == 3:
            zero["stage3_prefetch_bucket_size"] = self.prefetch_bucket_size
            zero["stage3_param_persistence_threshold"] = self.persistence_threshold
        if self.offload != "none":
            zero["offload_optimizer"] = {"device": "cpu"}
        if self.offload == "parameters":
            zero["offload_param"] = {"device": "cpu"}
        return {
            "train_micro_batch_size_per_gpu": 1,  # must be there, and is only used to count samples
            "gradient_accumulation_steps": 1,
            # from stage 1 on gradients are complete at step(), however many backward passes came before; in stage 0
            # they have to be averaged before, because the engine clips
            "managed_gradient_accumulation": self.zero_stage == 0,
            "gradient_clipping": clip_norm
            if self.zero_stage > 0
            else 0.0,  # stage 0: the engine clips, to know the norm
            "zero_allow_untested_optimizer": True,  # torch's AdamW, so that every engine updates alike
            "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own needs a compiler at run time
            "zero_optimization": zero,
        }
