"""The one small face of all engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from training.learner import Batch, Learner


class Engine(Protocol):
    """Moves the parameters of a learner, alone or together with other processes.

    Every method is collective: all processes call it at the same point of the run.
    """

    learner: Learner
    """What is trained; up to date after `weights`."""
    scales: list[float]
    """What the schedule's rate is multiplied with for each group of the optimizer."""

    def step(self, batch: Batch, rates: Sequence[float]) -> dict[str, Tensor]:
        """Learn from a batch: forward, backward, average over processes, clip, update.

        Args:
            batch: this process's part of the global batch.
            rates: learning rate of every group of the optimizer.

        Returns:
            The losses of this process by name, `loss` their sum, and `grad_norm`: the length of the averaged gradient
            before clipping. When it is not finite, no parameter has moved.
        """
        ...

    def weights(self) -> dict[str, Tensor]:
        """Give the learner's parameters and persistent buffers, whole, float32, on the CPU, each tensor once."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """Give the optimizer's state as whole `PARAMETER:KEY` tensors on the CPU."""
        ...

    def load(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Put both back; they may come from another engine and another number of processes."""
        ...

    def close(self) -> None:
        """Bring `learner` up to date and let go of what the engine holds; no step may follow."""
        ...
