"""What goes into a pool of workers and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Failure(StrEnum):
    """Why an item has no value."""

    CRASHED = "worker_crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    RAISED = "raised"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item.

    Args:
        index: place of the item in what was given to `Pool.imap`, from 0.
        value: what the function returned; None when it failed (or when the function returned None).
        failure: None when the function returned.
        detail: the failure in words: the signal, the limit, or the exception.
    """

    index: int
    value: R | None
    failure: Failure | None = None
    detail: str = ""


@dataclass(slots=True)
class Task(Generic[T]):
    """An item on its way, and how often it was begun."""

    index: int
    item: T
    attempts: int = 0
