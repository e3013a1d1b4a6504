"""AdamW, warm-up and cosine, rates by layer; and an optimizer's state as plain tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.errors import ConfigError, CorruptIndexError
from mmsearch.models.parts import in_part

#: `document.image.vit.blocks.3.mlp.fc1.weight`: the tower, and the number of the layer in it.
_LAYER = re.compile(r"^(.*?)\b(?:blocks|layers?|resblocks|stages)\.(\d+)\.")
#: Residual nets of timm write `layer2.0.conv1.weight`.
_RESIDUAL_LAYER = re.compile(r"^(.*?)\blayer(\d+)\.")
#: Tables of vectors, which are no matrices: pulling them to zero would pull all vectors to one.
_NOT_DECAYED = re.compile(r"(embed|embeddings?|position|token|time|codes|table)(\.weight)?$")

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimSettings(Settings):
    """How parameters move in a stage."""

    lr: float = Field(default=5e-4, gt=0)
    """Highest learning rate."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Of matrices and kernels; embeddings, positions, learned tokens, vectors and temperatures are not decayed."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """Of AdamW."""
    warmup_steps: int = Field(default=20, ge=0)
    """Steps in which the rate rises from 0."""
    final_lr_share: float = Field(default=0.05, ge=0, le=1)
    """The cosine ends at this share of lr."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient, over all parameters."""
    rates: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Multiples of lr for parameters whose names begin so (`document.image: 0.1`); the longest name counts, and of the
    names of tied parameters that with the lowest rate."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer of a tower learns at this multiple of the rate of the layer above it, its embeddings at that of a
    layer below all (BEiT, arXiv:2106.08254, appendix H)."""

    def rate(self, step: int, steps: int) -> float:
        """Give the learning rate of a step (from 0) of a stage of `steps`."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        through = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
        share = self.final_lr_share + (1 - self.final_lr_share) * 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))
        return self.lr * share


def make_optimizer(model: nn.Module, settings: OptimSettings, *, fused: bool = False) -> torch.optim.AdamW:
    """Give AdamW over all trainable parameters; every group has the `scale` of its rate.

    Args:
        model: the model.
        settings: of the stage.
        fused: update in one kernel, many times faster on a CPU with many small parameters.

    Raises:
        ConfigError: `rates` names parameters that do not exist, or nothing is left to train.
    """
    names_of: dict[nn.Parameter, list[str]] = {}  # a tied one has several
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(parameter, []).append(name)
    scales = rate_scales([name for names in names_of.values() for name in names], settings)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, names in names_of.items():
        if parameter.requires_grad:
            named = [name for name in names if _rates(name, settings)] or names
            decay = settings.weight_decay if parameter.dim() >= 2 and not _NOT_DECAYED.search(names[0]) else 0.0
            groups.setdefault((min(scales[name] for name in named), decay), []).append(parameter)
    if not groups:
        raise ConfigError("no parameter is left to train: see `train` and `freeze` of the stage")
    listed = [{"params": found, "weight_decay": decay, "scale": scale} for (scale, decay), found in groups.items()]
    return torch.optim.AdamW(listed, lr=settings.lr, betas=settings.betas, fused=fused or None)


def rate_scales(names: Iterable[str], settings: OptimSettings) -> dict[str, float]:
    """Give what the rate of each parameter is multiplied with, by its name.

    Names of a learner begin with `model.`, which settings leave out.

    Raises:
        ConfigError: `rates` names parameters that do not exist.
    """
    names = list(names)
    for prefix in settings.rates:
        if not any(_begins(name, prefix) for name in names):
            raise ConfigError(f"optim.rates: no parameter's name begins with '{prefix}'")
    depths = layer_depths(names)
    scales = {}
    for name in names:
        found = _rates(name, settings)
        scales[name] = settings.rates[max(found, key=len)] if found else 1.0
        scales[name] *= settings.layer_decay ** depths[name]
    return scales


def layer_depths(names: Iterable[str]) -> dict[str, int]:
    """Give how many layers of its tower stand above each parameter; 0 for what belongs to no tower of layers.

    The last layer of a tower has 0 above it, its embeddings one more than its first layer. What is listed before the
    first layer of a tower counts as embeddings, what is listed after as a head (0), as modules are built.
    """
    names = list(names)
    at = {name: found for name in names if (found := _layer(name)) is not None}
    count: dict[str, int] = {}
    for tower, number in at.values():
        count[tower] = max(count.get(tower, 0), number + 1)
    depths: dict[str, int] = {}
    begun: set[str] = set()
    for name in names:
        if name in at:
            tower, number = at[name]
            begun.add(tower)
            depths[name] = count[tower] - 1 - number
            continue
        below = [tower for tower in count if tower not in begun and name.startswith(_owner(tower))]
        depths[name] = count[max(below, key=len)] if below else 0
    return depths


def _layer(name: str) -> tuple[str, int] | None:
    match = _LAYER.match(name) or _RESIDUAL_LAYER.match(name)
    if match is None:
        return None
    counted_from_1 = _LAYER.match(name) is None
    return match.group(1), int(match.group(2)) - counted_from_1


def _owner(tower: str) -> str:
    """Give the name that a tower's parameters begin with: `teacher.text.transformer.` belongs to `teacher.text.`."""
    parts = tower.rstrip(".").split(".")
    inner = {"transformer", "encoder", "vit", "net", "trunk", "bert"}
    while parts and parts[-1] in inner:
        parts.pop()
    return ".".join(parts) + "." if parts else ""


def _rates(name: str, settings: OptimSettings) -> list[str]:
    return [prefix for prefix in settings.rates if _begins(name, prefix)]


def _begins(name: str, prefix: str) -> bool:
    return in_part(name.removeprefix("model."), [prefix])


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
