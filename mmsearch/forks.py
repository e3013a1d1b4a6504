"""What a process that was forked must have anew: locks that a thread of its parent held, threads that are not there."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object with something in it that does not live through a fork."""

    def renew(self) -> None:
        """Make that anew. Called in the child, before anything else runs there."""
        ...


_renewed: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_child(owner: Renewable) -> None:
    """Let `owner.renew()` be called in every child that this process forks while the owner lives."""
    _renewed.add(owner)


def _renew_all() -> None:
    for owner in list(_renewed):
        owner.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class ForkSafeLock:
    """A lock that is free in a forked child, whatever thread of the parent held it: that thread is not in the child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Start with a lock that nobody holds."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()
