"""Floating-point operations of a piece of work, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

T = TypeVar("T")
_Shape = Sequence[int]


def count_flops(work: Callable[[], T]) -> tuple[T, int]:
    """Do some work, and count its floating-point operations.

    Matrix products, convolutions and attention count, a multiplication and its addition as two; what is done element
    by element does not. What is computed again in the backward pass (activation checkpointing, fused attention) counts
    again. The work gives the same numbers as without counting; it takes longer.

    Returns:
        What the work gave, and the count: of this process alone.
    """
    with FlopCounterMode(display=False, custom_mapping=_attention_on_cpu()) as counter:
        result = work()
    return result, int(counter.get_total_flops())


def _attention_on_cpu() -> dict[Any, Callable[..., int]]:
    """Give formulas for the fused attention of CPUs, which torch itself counts as nothing."""
    aten, fused = torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"
    formulas: dict[Any, Callable[..., int]] = {}
    if hasattr(aten, fused) and hasattr(aten, f"{fused}_backward"):
        formulas[getattr(aten, fused)] = _attention
        formulas[getattr(aten, f"{fused}_backward")] = _attention_backward
    return formulas


def _attention(query: _Shape, key: _Shape, value: _Shape, *_: Any, **__: Any) -> int:
    """Count query by key and weights by value: 2 of each product, [B, H, L, D]."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def _attention_backward(grad: _Shape, query: _Shape, key: _Shape, value: _Shape, *_: Any, **__: Any) -> int:
    """Count the scores once more, the gradients of weights and values, and those of queries and keys."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (3 * width + 2 * value[3])
