"""DeepSpeed: parameters, gradients and the optimizer's state split over processes (ZeRO, arXiv:1910.02054).

Checkpoints are ours, not DeepSpeed's: whole float32 tensors, the same for every stage, every number of processes and
the plain engine.
"""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.nn.distributed import broadcast_buffers, broadcast_module
from training.backward import backward_through
from training.engines.zero_settings import DeepSpeedSettings
from training.engines.zero_state import ZeroState
from training.learner import Batch, Learner
from training.optim import OptimSettings, make_optimizer
from training.representations import Representations
from training.weights import put_weights, unique_tensors


class DeepSpeedEngine:
    """AdamW under ZeRO.

    DeepSpeed trains a copy. `learner` itself stays a plain whole module, for validation and export; `weights` brings
    it up to date. (A module that DeepSpeed has split cannot be called without it, nor be put together again.)

    Every trainable parameter moves: one that no batch reaches has a gradient of zeros and is decayed. Freeze what a
    stage does not train.

    Args:
        learner: what is trained, on its device.
        optim: of the stage.
        settings: of ZeRO.
        chunk_size: queries and videos embedded at a time (gradient caching); None = all at once.

    Raises:
        ConfigError: chunk_size together with offload in stage 2 or 3, where DeepSpeed mixes up gradients.
    """

    def __init__(
        self, learner: Learner, optim: OptimSettings, settings: DeepSpeedSettings, *, chunk_size: int | None = None
    ) -> None:
        self.learner, self._optim, self._chunk_size = learner, optim, chunk_size
        self._stage = settings.zero_stage
        if chunk_size is not None and settings.offload != "none" and self._stage > 1:
            raise ConfigError(  # it would add gradients to those of the step before
                f"engine.offload: {settings.offload} and chunks of a batch (gradient caching) do not go together in "
                f"zero_stage {self._stage}; choose offload: none, or offload: optimizer with zero_stage: 1"
            )
        device = next(learner.parameters()).device
        self._deepspeed = _deepspeed(device)
        broadcast_module(learner)
        trained = copy.deepcopy(learner)
        optimizer = make_optimizer(trained, optim)
        self.scales = [float(group["scale"]) for group in optimizer.param_groups]
        config = settings.to_dict(clip_norm=optim.clip_norm)
        self._engine, *_ = self._deepspeed.initialize(model=_Called(trained), optimizer=optimizer, config=config)
        self._trained: Learner = trained
        self._state = ZeroState(self._deepspeed, self._engine, trained, self._stage)

    def step(self, batch: Batch, rates: Sequence[float]) -> dict[str, Tensor]:
        """Learn from a batch (see `Engine.step`); where the gradient is not finite, no parameter moves."""
        for group, rate in zip(self._engine.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for module, plain in zip(self._trained.modules(), self.learner.modules(), strict=True):
            module.training = plain.training  # frozen parts stay in eval mode
        if self._stage == 3 and self._chunk_size is not None:
            self._state.clear_gradients()
        losses = backward_through(self._call, batch, self._chunk_size, self._backward)
        norm = self._update()
        if torch.isfinite(norm):
            self._after_step()
        return {**losses, "grad_norm": norm}

    def weights(self) -> dict[str, Tensor]:
        """Give the learner's weights (see `Engine.weights`), and put them into `learner`.

        Statistics of batch norm become those of rank 0.
        """
        broadcast_buffers(self._trained)
        put_weights(self.learner, self._state.weights())
        return unique_tensors(self.learner)

    def moments(self) -> dict[str, Tensor]:
        """Give the optimizer's state (see `Engine.moments`)."""
        return self._state.moments()

    def load(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Put weights and state back (see `Engine.load`).

        ZeRO counts the steps of all parameters together: they get the highest count of all.
        """
        put_weights(self.learner, weights)
        self._state.put_weights(unique_tensors(self.learner))
        self._state.put_moments(moments)

    def close(self) -> None:
        """Bring `learner` up to date and let go of DeepSpeed's memory (see `Engine.close`)."""
        self.weights()
        self._engine.destroy()

    def _call(self, *args: Any, **kwargs: Any) -> dict[str, Tensor] | Representations:
        found = self._engine(*args, **kwargs)
        return Representations(*found) if isinstance(found, tuple) else found

    def _backward(self, loss: Tensor, last: bool) -> None:
        if self._stage == 0:
            self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss)

    def _update(self) -> Tensor:
        """Clip and update; give the length of the gradient before clipping."""
        if self._stage > 0:
            self._engine.step()  # skips the update itself where the gradient is not finite
            return torch.as_tensor(float(self._engine.get_global_grad_norm()))
        parameters = [parameter for parameter in self._trained.parameters() if parameter.requires_grad]
        norm = nn.utils.clip_grad_norm_(parameters, self._optim.clip_norm)
        if torch.isfinite(norm):
            self._engine.step()
        else:
            self._engine.zero_grad()
        return norm

    @torch.no_grad()
    def _after_step(self) -> None:
        """Bound what has bounds, in the parameters and in ZeRO's float32 masters of them."""
        bounded = list(self._trained.model.log_scale.parameters())
        split = bounded if self._stage == 3 else []
        with self._deepspeed.zero.GatheredParameters(split, modifier_rank=0, enabled=bool(split)):
            self._trained.after_step()
            values = [parameter.detach().clone() for parameter in bounded]
        for parameter, value in zip(bounded, values, strict=True):
            self._state.put_master(parameter, value)


class _Called(nn.Module):
    """A learner whose outputs DeepSpeed understands: its hooks see tensors in tuples and dicts only."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, Tensor]]:
        # not called as a module: what the learner gives would reach the hooks
        found = self.learner.forward(*args, **kwargs)
        return (found.vectors, found.present) if isinstance(found, Representations) else found


def _deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for a device, in a group of processes; where there is none, of this process alone."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)  # read at import; its guess writes to stdout
    deepspeed = require("deepspeed", extra="deepspeed")
    logger = logging.getLogger("DeepSpeed")
    logger.handlers.clear()  # writes to stdout, where results go
    logger.propagate = True
    logger.setLevel(logging.ERROR)  # warns of every optimizer that is not its own
    warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+_tensor` is deprecated", category=FutureWarning)
    # compiled at first use, in a minute and with a compiler; only DeepSpeed's inference calls it
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        # DeepSpeed wants to be told by a launcher, and moves what it trains to the GPU of this number
        os.environ.setdefault("LOCAL_RANK", str(device.index or 0))
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    return deepspeed
