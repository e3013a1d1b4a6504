"""What pulls the student towards the teacher."""

from __future__ import annotations

from torch import Tensor


def embedding_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Give the mean squared distance ||student - stop_grad(teacher)||^2 of unit vectors, in [0, 4].

    The teacher learns nothing from it: [B, D] and [B, D] to a scalar; an empty batch gives 0.
    """
    distance = (student - teacher.detach()).square().sum(-1)
    return distance.sum() / max(len(distance), 1)
