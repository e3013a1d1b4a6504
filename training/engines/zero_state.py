"""Whole tensors out of ZeRO's parts, and back into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmsearch.errors import CorruptIndexError
from mmsearch.nn.distributed import rank, world_size
from training.optim import optimizer_tensors, restore_optimizer
from training.weights import unique_tensors

_MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroState:
    """Parameters and moments of a module that DeepSpeed trains.

    Stages 1 and 2 keep parameters whole beside flat float32 *masters*, of which each process holds a part and the
    moments of that part. Stage 3 cuts every parameter by itself, padded to equal shards.

    Args:
        deepspeed: the library.
        engine: DeepSpeed's engine.
        module: what it trains.
        stage: of ZeRO.
    """

    def __init__(self, deepspeed: Any, engine: Any, module: nn.Module, stage: int) -> None:
        self._deepspeed, self._engine, self._module, self._stage = deepspeed, engine, module, stage

    def weights(self) -> dict[str, Tensor]:
        """Give whole weights on the CPU; collective."""
        if self._stage < 3:
            return unique_tensors(self._module)
        names = dict(self._module.named_parameters())
        whole = {name: _whole(parameter, _cut(parameter)).cpu() for name, parameter in names.items()}
        buffers = {name: tensor for name, tensor in unique_tensors(self._module).items() if name not in names}
        return whole | buffers

    @torch.no_grad()
    def put_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Put whole weights into parameters, masters and buffers."""
        parameters = dict(self._module.named_parameters())
        buffers = dict(self._module.named_buffers())
        for name, value in tensors.items():
            if name in buffers:
                buffers[name].copy_(value)
                continue
            parameter = parameters[name]
            if self._stage == 3:
                _cut(parameter).copy_(_shard(parameter, value))
            if parameter.numel() == value.numel():  # stage 3: only what persists is whole between steps
                parameter.copy_(value)
            self.put_master(parameter, value)

    def put_master(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Set the float32 master of a parameter; frozen ones and stage 0 have none."""
        if self._stage == 0 or not parameter.requires_grad:
            return
        value = value.to(parameter.device)
        if self._stage == 3:
            self._deepspeed.utils.safe_set_local_fp32_param(parameter, _shard(parameter, value))
        else:
            self._deepspeed.utils.safe_set_full_fp32_param(parameter, value)

    def clear_gradients(self) -> None:
        """Forget the gradients of the step before; stage 3.

        DeepSpeed overwrites them in the first backward pass of a step, and adds to them in every further one: to what
        is a step old, where the first pass did not reach a parameter.
        """
        for _, parameter in self._trainable():
            zeros = torch.zeros_like(_cut(parameter))
            self._deepspeed.utils.safe_set_local_grad(parameter, zeros)

    def moments(self) -> dict[str, Tensor]:
        """Give AdamW's state as `PARAMETER:KEY` tensors on the CPU; empty before the first step. Collective."""
        if self._stage == 0:
            return optimizer_tensors(self._module, self._engine.optimizer)
        states = [self._adamw.state[master] for master in self._masters()]
        if not all(states):
            return {}
        self._link_states()
        step = states[0]["step"].detach().cpu().clone()
        found: dict[str, Tensor] = {}
        for name, parameter in self._trainable():
            found[f"{name}:step"] = step.clone()
            for key in _MOMENTS:
                found[f"{name}:{key}"] = self._moment(parameter, key).cpu().contiguous()
        return found

    def put_moments(self, tensors: Mapping[str, Tensor]) -> None:
        """Put such tensors back; a parameter without any gets zeros.

        Raises:
            CorruptIndexError: a tensor belongs to a parameter that the module does not train.
        """
        if self._stage == 0:
            restore_optimizer(self._module, self._engine.optimizer, tensors)
            return
        trainable = dict(self._trainable())
        unknown = {name.rpartition(":")[0] for name in tensors} - trainable.keys()
        if unknown:
            raise CorruptIndexError(
                f"the checkpoint's optimizer knows parameters that are not trained: {sorted(unknown)}"
            )
        steps = [value for name, value in tensors.items() if name.endswith(":step")]
        self._clear_states(torch.stack(steps).max() if steps else None)
        for name, value in tensors.items():
            parameter, _, key = name.rpartition(":")
            if key in _MOMENTS:
                self._put_moment(trainable[parameter], key, value)

    @property
    def _adamw(self) -> torch.optim.AdamW:
        """The torch optimizer inside DeepSpeed's: its parameters are flat masters."""
        inner: torch.optim.AdamW = self._engine.optimizer.optimizer
        return inner

    def _masters(self) -> list[Tensor]:
        zero = self._engine.optimizer
        found: list[Tensor] = (
            zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups
        )
        return found

    def _clear_states(self, step: Tensor | None) -> None:
        """Give every master the state that AdamW makes at its first step, and a count of steps; None = no state."""
        for master in self._masters():
            self._adamw.state.pop(master, None)
            if step is not None:
                zeros = {key: torch.zeros_like(master) for key in _MOMENTS}
                self._adamw.state[master] = {"step": step.clone().float(), **zeros}
        if step is not None:
            self._link_states()

    def _link_states(self) -> None:
        """Tell parameters of stages 1 and 2 where their moments are.

        DeepSpeed does so in its first step, when only the first group of parameters has any.
        """
        if self._stage == 3:
            return
        for parameters, master in zip(self._engine.optimizer.bit16_groups, self._masters(), strict=True):
            self._deepspeed.utils.lazy_init_hp_params_optimizer_state(parameters, master, self._adamw.state)

    def _moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        utils = self._deepspeed.utils
        if self._stage == 3:
            return _whole(parameter, utils.safe_get_local_optimizer_state(parameter, key))
        found: Tensor = utils.safe_get_full_optimizer_state(parameter, key)
        return found

    def _put_moment(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        utils, value = self._deepspeed.utils, value.to(parameter.device)
        if self._stage == 3:
            utils.safe_set_local_optimizer_state(parameter, _shard(parameter, value), key)
        else:
            utils.safe_set_full_optimizer_state(parameter, value, key)

    def _trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, parameter) for name, parameter in self._module.named_parameters() if parameter.requires_grad)


def _cut(parameter: Any) -> Tensor:
    """Give this process's shard of a stage-3 parameter, as DeepSpeed keeps it."""
    shard: Tensor = parameter.ds_tensor
    return shard


def _whole(parameter: Any, shard: Tensor) -> Tensor:
    """Collect the shards of a stage-3 parameter, or of its moments, from all processes."""
    shard = shard.detach().to(parameter.device).contiguous().view(-1)
    shards = [torch.empty_like(shard) for _ in range(world_size())]
    dist.all_gather(shards, shard)
    return torch.cat(shards)[: parameter.ds_numel].view(parameter.ds_shape)


def _shard(parameter: Any, value: Tensor) -> Tensor:
    """Give this process's shard of a whole tensor; the last ones are padded with zeros."""
    size = _cut(parameter).numel()
    padded = value.new_zeros(size * world_size())
    padded[: value.numel()] = value.reshape(-1)
    return padded[rank() * size : (rank() + 1) * size]
