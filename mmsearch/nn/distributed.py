"""Collectives over the processes of a training run; every one of them is a no-op in a single process.

Letters: B rows of a rank, W ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

MIB = 1 << 20


def rank() -> int:
    """Give the number of this process; 0 where torch.distributed is not initialised."""
    return dist.get_rank() if _initialised() else 0


def world_size() -> int:
    """Give the number of processes; 1 where torch.distributed is not initialised."""
    return dist.get_world_size() if _initialised() else 1


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        devices = [torch.cuda.current_device()] if dist.get_backend() == "nccl" else None
        dist.barrier(device_ids=devices)


def gather(tensor: Tensor) -> Tensor:
    """Concatenate the tensors of all ranks in the order of ranks, with gradient.

    The gradient of a rank's slice is the sum of what every rank's loss asks of it; so when each rank's loss is W
    times its share of the global loss, the mean of the parameter gradients over ranks is the global gradient.
    Integers and booleans have no gradient.

    Backward is a collective as well: where the tensor requires a gradient, every rank must let its loss depend on
    what it gets, be it with a weight of zero, or the others wait for it.

    Args:
        tensor: of the same shape and dtype on every rank, [B, ...].

    Returns:
        [W * B, ...]; the tensor itself in a single process.
    """
    if world_size() == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Give the sum of the ranks' numbers, without gradient, in a tensor of its own, of the same shape."""
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def of_rank_0(number: float, device: torch.device) -> float:
    """Give the number that rank 0 has; `device` is one that the processes talk through."""
    if world_size() == 1:
        return number
    told = torch.tensor(number, dtype=torch.float64, device=device)
    dist.broadcast(told, src=0)
    return float(told)


def average_gradients(parameters: Iterable[nn.Parameter], *, bucket_bytes: int = 64 * MIB) -> None:
    """Replace the gradient of every parameter by its mean over ranks.

    A parameter without gradient counts as zeros where another rank has one, and keeps none where no rank has one
    (so that no optimizer decays what nobody used). The ranks agree on that by one small sum.

    Args:
        parameters: the same ones in the same order on every rank; those that are frozen are passed over.
        bucket_bytes: gradients go in flat copies of about this size; a larger parameter makes one by itself.
    """
    if world_size() == 1:
        return
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    if not learned:
        return
    has = torch.tensor([parameter.grad is not None for parameter in learned], dtype=torch.int32)
    used = sum_over_ranks(has.to(learned[0].device)).tolist()
    gradients = []
    for parameter, ranks in zip(learned, used, strict=True):
        if ranks:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients, bucket_bytes):
        _average(bucket)


def broadcast_module(module: nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    _broadcast((*module.parameters(), *module.buffers()))


def broadcast_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0 alone: statistics that each took of its own batches (batch norm)."""
    _broadcast(module.buffers())


@torch.no_grad()
def _broadcast(tensors: Iterable[Tensor]) -> None:
    if world_size() == 1:
        return
    for tensor in tensors:
        sent = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        gathered = tensor.new_empty((world_size() * len(tensor), *tensor.shape[1:]))
        if _by_nccl(tensor):
            dist.all_gather_into_tensor(gathered, tensor)
        else:
            dist.all_gather(list(gathered.view(world_size(), *tensor.shape).unbind()), tensor)
        return gathered

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        gradient = gradient.contiguous()
        size = len(gradient) // world_size()
        if _by_nccl(gradient):
            own = gradient.new_empty((size, *gradient.shape[1:]))
            dist.reduce_scatter_tensor(own, gradient)
            return own
        return sum_over_ranks(gradient)[rank() * size : (rank() + 1) * size]


def _buckets(tensors: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Give the tensors in lists of one dtype and device, of at most `size` bytes or of a single tensor."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for kind in kinds.values():
        bucket: list[Tensor] = []
        filled = 0
        for tensor in kind:
            if bucket and filled + tensor.nbytes > size:
                yield bucket
                bucket, filled = [], 0
            bucket.append(tensor)
            filled += tensor.nbytes
        yield bucket


def _average(bucket: list[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
    dist.all_reduce(flat)
    flat /= world_size()
    for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _by_nccl(tensor: Tensor) -> bool:
    return tensor.is_cuda and dist.get_backend() != "gloo"


def _initialised() -> bool:
    return dist.is_available() and dist.is_initialized()
