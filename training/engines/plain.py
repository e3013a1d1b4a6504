"""Plain PyTorch: one process, or many that average their gradients (gloo or nccl)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmsearch.nn.distributed import average_gradients, broadcast_buffers, broadcast_module
from training.backward import backward_through
from training.learner import Batch, Learner
from training.optim import OptimSettings, make_optimizer, optimizer_tensors, restore_optimizer
from training.weights import put_weights, unique_tensors


class PlainEngine:
    """AdamW on whole parameters in every process.

    Gradients are averaged in buckets after the backward pass, not during it: parameters may be unused, frozen, or used
    by several backward passes of a step (gradient caching), and all processes still agree.

    Args:
        learner: what is trained, on its device.
        optim: of the stage.
        chunk_size: queries and videos embedded at a time (gradient caching); None = all at once.
    """

    def __init__(self, learner: Learner, optim: OptimSettings, *, chunk_size: int | None = None) -> None:
        self.learner, self._optim, self._chunk_size = learner, optim, chunk_size
        broadcast_module(learner)
        self.optimizer = make_optimizer(learner, optim, fused=learner.model.device.type == "cpu")
        self.scales = [float(group["scale"]) for group in self.optimizer.param_groups]
        self._parameters = [p for p in learner.parameters() if p.requires_grad]

    def step(self, batch: Batch, rates: Sequence[float]) -> dict[str, Tensor]:
        """Learn from a batch (see `Engine.step`)."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses = backward_through(self.learner, batch, self._chunk_size, _backward)
        average_gradients(self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._optim.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.learner.after_step()
        return {**losses, "grad_norm": norm}

    def weights(self) -> dict[str, Tensor]:
        """Give the learner's weights (see `Engine.weights`); statistics of batch norm become those of rank 0."""
        broadcast_buffers(self.learner)
        return unique_tensors(self.learner)

    def moments(self) -> dict[str, Tensor]:
        """Give the optimizer's state (see `Engine.moments`)."""
        return optimizer_tensors(self.learner, self.optimizer)

    def load(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Put weights and state back (see `Engine.load`)."""
        put_weights(self.learner, weights)
        restore_optimizer(self.learner, self.optimizer, moments)

    def close(self) -> None:
        """Do nothing: the learner is up to date, and there is nothing to let go of."""


def _backward(tensor: Tensor, last: bool) -> None:
    """Add gradients; they are averaged over processes once, after the last call of a step."""
    del last
    tensor.backward()
