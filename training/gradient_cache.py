"""Batches larger than memory: one loss over all of the batch, the towers' activations of one chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from training.representations import Representations

Chunk = TypeVar("Chunk")


class Backward(Protocol):
    """What an engine does for `tensor.backward()`; `last` marks the last call of a step."""

    def __call__(self, tensor: Tensor, last: bool, /) -> None:
        """Add the gradients of a scalar to the parameters, without scaling them."""
        ...


def cached_backward(
    embed: Callable[[Chunk], Representations],
    chunks: Sequence[Chunk],
    loss: Callable[[Representations], dict[str, Tensor]],
    backward: Backward,
) -> dict[str, Tensor]:
    """Add the gradient of one loss over all chunks to the parameters, holding the activations of one chunk.

    Gradient caching (arXiv:2101.06983, sec. 3): embed all chunks without a graph; take the loss of the joined
    representations, which gives their gradients and those of what the loss itself holds (temperatures); embed each
    chunk again with a graph, under the same random numbers, and send its share of the cached gradients through it.
    The gradient is that of embedding all chunks in one graph, to rounding; each chunk is embedded twice. A single
    chunk takes the plain step, once.

    The loss may gather over ranks: what is cached then holds the other ranks' share. Ranks must have the same number
    of chunks, and `backward` is called once more than that, in the same order everywhere. Statistics that a module
    keeps of its inputs (batch norm) see every chunk twice, and a chunk is what they are taken over.

    Args:
        embed: gives the representations of a chunk; random numbers from torch's generators alone.
        chunks: of the batch, in order; at least one. Sizes may differ, and a chunk may lack queries or videos.
        loss: gives the losses by name, `loss` the one to learn from.
        backward: of the engine.

    Returns:
        What `loss` gave, detached.
    """
    if len(chunks) == 1:
        found = loss(embed(chunks[0]))
        backward(found["loss"], True)
        return _detached(found)
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_RandomState.now())
            parts.append(embed(chunk))
    # inside an outer autocast, torch before late 2025 (its issue 112583) hands the weights that were cast in the first
    # pass to the second, cut off from the parameters
    torch.clear_autocast_cache()
    leaves = Representations.joined(parts).detached()
    found = loss(leaves)
    backward(found["loss"], False)
    gradients = _split({name: leaf.grad for name, leaf in leaves.vectors.items() if leaf.grad is not None}, parts)
    for number, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        with state.replayed():
            carrier = _carrier(embed(chunk), gradients[number])
        backward(carrier, number + 1 == len(chunks))
    return _detached(found)


def _carrier(part: Representations, gradients: dict[str, Tensor]) -> Tensor:
    """Give a scalar whose gradient with respect to the representations is the cached one."""
    # a leaf of its own: a chunk may hold nothing that learns, yet the engine has to hear of every chunk
    device = next((vector.device for vector in part.vectors.values()), None)
    total = torch.zeros((), requires_grad=True, device=device)
    for name, gradient in gradients.items():
        exact = torch.promote_types(gradient.dtype, torch.float32)
        total = total + (part.vectors[name] * gradient).sum(dtype=exact)
    return total


def _split(gradients: dict[str, Tensor], parts: Sequence[Representations]) -> list[dict[str, Tensor]]:
    """Cut the gradients of joined chunks into those of each chunk; a name is absent where the chunk lacks it."""
    shares: list[dict[str, Tensor]] = [{} for _ in parts]
    for name, gradient in gradients.items():
        holders = [number for number, part in enumerate(parts) if name in part.vectors]
        sizes = [len(parts[number].vectors[name]) for number in holders]
        for number, share in zip(holders, gradient.split(sizes), strict=True):
            shares[number][name] = share
    return shares


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses.items()}


@dataclass(frozen=True, slots=True)
class _RandomState:
    """Torch's random generators at one moment: of the CPU, and of this process's CUDA device where there is one."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls) -> _RandomState:
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw the numbers of that moment again inside, and go on afterwards as if nothing had been drawn."""
        devices = [] if self.cuda is None else [torch.cuda.current_device()]
        with torch.random.fork_rng(devices):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda)
            yield
