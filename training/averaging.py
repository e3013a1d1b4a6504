"""An exponential moving average of the weights (Polyak averaging; as in arXiv:1703.01780)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Average the parameters of a module over the steps of a stage; buffers are taken as they are.

    average <- d * average + (1 - d) * parameter after each step t (from 1), with d = min(decay, (1 + t) / (10 + t)),
    so that the first steps do not stay in it for long.

    Args:
        module: whose parameters are averaged; the average starts from them.
        decay: in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay, self.steps = module, decay, 0
        self._average = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take a step in."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for name, parameter in self._module.named_parameters():
            self._average[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module have the average within the block, and its own parameters again after it."""
        own = {name: p.detach().clone() for name, p in self._module.named_parameters()}
        self.apply()
        try:
            yield
        finally:
            self._put(own)

    def apply(self) -> None:
        """Give the module the average for good."""
        self._put(self._average)

    def tensors(self) -> dict[str, Tensor]:
        """Give the average, on the CPU, with the number of steps as `:steps`."""
        found = {name: tensor.cpu().contiguous() for name, tensor in self._average.items()}
        return found | {":steps": torch.tensor(self.steps)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put such tensors back."""
        self.steps = int(tensors[":steps"])
        for name, tensor in self._average.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._module.named_parameters():
            parameter.copy_(tensors[name])
