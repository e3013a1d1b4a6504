"""The weights of a module as a flat dict, each tensor once: tied parameters have one name, their first."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmsearch.errors import CorruptIndexError


def unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Give parameters and persistent buffers, float32 or integer, on the CPU; copies where they were elsewhere."""
    return {name: _plain(tensor) for name, tensor in _own(module).items()}


@torch.no_grad()
def put_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy such tensors into a module.

    Raises:
        CorruptIndexError: a name is missing or unknown, or a shape differs.
    """
    own = _own(module)
    wrong = sorted(own.keys() ^ tensors.keys())
    wrong += [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    if wrong:
        raise CorruptIndexError(f"the weights are of another model: {', '.join(wrong[:8])} ({len(wrong)} differ)")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _own(module: nn.Module) -> dict[str, Tensor]:
    passing = {f"{at}.{name}" if at else name for at, part in module.named_modules() for name in _not_saved(part)}
    buffers = {name: buffer for name, buffer in module.named_buffers() if name not in passing}
    return dict(module.named_parameters()) | buffers


def _not_saved(module: nn.Module) -> set[str]:
    return module._non_persistent_buffers_set


def _plain(tensor: Tensor) -> Tensor:
    whole = tensor.detach().cpu().contiguous()
    return whole.float() if whole.is_floating_point() else whole
