"""What every text tower does with its layers: choose some for a student, recompute them in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmsearch.errors import ConfigError


def evenly_spaced_layers(total: int, kept: int) -> list[int]:
    """Give the numbers (from 0) of `kept` layers out of `total`, at even distances, the last one always among them.

    PKD-skip (arXiv:1908.09355 section 3): of 12 layers, 3 are layers 4, 8, 12 counted from 1.

    Raises:
        ConfigError: more layers are asked for than there are, or none.
    """
    if not 1 <= kept <= total:
        raise ConfigError(f"a student of {kept} layers cannot be taken from a teacher of {total}")
    return [(i + 1) * total // kept - 1 for i in range(kept)]


def pick_layers(layers: nn.ModuleList, kept: int) -> nn.ModuleList:
    """Give `kept` of the layers, evenly spaced; the modules themselves, not copies."""
    return nn.ModuleList(layers[i] for i in evenly_spaced_layers(len(layers), kept))


def set_recomputing(layers: Iterable[nn.Module], on: bool) -> None:
    """Make layers keep their inputs alone while training, and compute the rest again in the backward pass.

    `forward` is replaced on the instances, not wrapped in modules: names of parameters stay, and hooks of an engine
    that gathers parameters run around the whole, once.
    """
    for layer in layers:
        layer.__dict__.pop("forward", None)
        if on:
            layer.forward = partial(_recomputed, layer, layer.forward)


def _recomputed(layer: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (layer.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
