"""From a batch to gradients, at once or in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from training.gradient_cache import Backward, cached_backward
from training.learner import Batch


def backward_through(
    call: Callable[..., Any], batch: Batch, chunk_size: int | None, backward: Backward
) -> dict[str, Tensor]:
    """Give the losses of a batch after their backward pass.

    Args:
        call: the learner, or the engine around it: `call(batch)` gives losses, `call(chunk, embed_only=True)`
            representations, `call(batch, representations)` their losses.
        batch: what to learn from.
        chunk_size: queries and videos embedded at a time (arXiv:2101.06983); None = all at once.
        backward: called with a tensor and whether it is the last of the step.
    """
    chunks = batch.chunks(chunk_size)
    if len(chunks) == 1:
        losses: dict[str, Tensor] = call(batch)
        backward(losses["loss"], True)
        return losses
    return cached_backward(
        lambda chunk: call(chunk, embed_only=True), chunks, lambda given: call(batch, given), backward
    )
