"""AdamW, warm-up and cosine, clipping; and an optimizer's state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.errors import CorruptIndexError


class OptimSettings(Settings):
    """How parameters move in a stage."""

    lr: float = Field(default=5e-4, gt=0)
    """Highest learning rate."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Of all that has two or more dimensions, but for weights with `embed` in their name; vectors and temperatures are
    not decayed."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    warmup_steps: int = Field(default=20, ge=0)
    """Steps in which the rate rises from 0."""
    final_lr_share: float = Field(default=0.05, ge=0, le=1)
    """The cosine ends at this share of lr."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient, over all parameters."""

    def rate(self, step: int, steps: int) -> float:
        """Give the learning rate of a step (from 0) of a stage of `steps`."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        through = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
        share = self.final_lr_share + (1 - self.final_lr_share) * 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))
        return self.lr * share


def make_optimizer(model: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """Give AdamW over all trainable parameters, in the order of their names."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if p.dim() >= 2 and "embed" not in n]
    kept = [p for n, p in named if not (p.dim() >= 2 and "embed" not in n)]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Give an optimizer's state as `PARAMETER:KEY` tensors, for a safetensors file."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}:{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return tensors


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put such tensors back.

    Raises:
        CorruptIndexError: a tensor belongs to a parameter that the model does not have.
    """
    parameters = dict(model.named_parameters())
    for full, value in tensors.items():
        name, _, key = full.rpartition(":")
        if name not in parameters:
            raise CorruptIndexError(f"the checkpoint's optimizer knows a parameter '{name}' that the model lacks")
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU, the moments where the parameter is
        device = value.device if key == "step" else parameter.device
        optimizer.state[parameter][key] = value.to(device, copy=True)
