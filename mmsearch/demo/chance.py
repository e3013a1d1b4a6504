"""Repeatable chance: every drawn thing has its own stream, so that no part of the world moves another one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def stream(*names: object) -> random.Random:
    """Give the random numbers that belong to a name, such as `stream(seed, "video", 17)`.

    Equal names give equal numbers in every process and Python version (a string seed is hashed by SHA-512).
    """
    return random.Random("/".join(str(name) for name in names))  # noqa: S311 (a world, not a secret)


def weighted(chance: random.Random, weights: Mapping[T, float]) -> T:
    """Draw a key with a probability proportional to its weight."""
    return chance.choices(list(weights), list(weights.values()))[0]
