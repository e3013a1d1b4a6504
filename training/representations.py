"""What the towers make of a batch, by name: it can be cut into chunks, joined, and gathered over ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmsearch.nn.distributed import gather


@dataclass(frozen=True, slots=True)
class Representations:
    """Vectors of q queries and v videos, in every space (D components, M codes, T frames).

    A chunk of a batch may hold queries alone or videos alone: the names of the other kind are absent then.

    Args:
        vectors: `teacher/SPACE` [q, D], `student/SPACE` [q, D], `codes/SPACE` [v, M, D], `each/frames` [v, T, D].
        present: True where a video has what a space reads, `SPACE` [v]; where a frame is one, `each/frames` [v, T].
    """

    vectors: dict[str, Tensor]
    present: dict[str, Tensor]

    def gathered(self) -> Representations:
        """Give those of all ranks, in the order of ranks, with gradient (see `mmsearch.nn.distributed.gather`).

        All ranks have the same names and shapes. In a single process these are the same tensors.
        """
        return self._map(gather)

    def detached(self) -> Representations:
        """Give the same values as leaves that collect a gradient."""
        return Representations(_mapped(self.vectors, lambda x: x.detach().requires_grad_()), dict(self.present))

    @classmethod
    def joined(cls, parts: Sequence[Representations]) -> Representations:
        """Concatenate the chunks of a batch, name by name along the first dimension, in their order."""
        return cls(_joined([part.vectors for part in parts]), _joined([part.present for part in parts]))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Representations:
        return Representations(_mapped(self.vectors, change), _mapped(self.present, change))


def _mapped(tensors: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    # by name, not by when it came: collectives must meet in the same order on all ranks
    return {name: change(tensors[name]) for name in sorted(tensors)}


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: torch.cat([part[name] for part in parts if name in part]) for name in names}
