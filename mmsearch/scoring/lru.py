"""A bounded memory of what was computed last."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from mmsearch.forks import ForkSafeLock

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps the entries that were used last. Safe for threads and forks.

    Args:
        size: number of entries; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, ForkSafeLock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Give an entry, and let it be the last one to go; None where it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: K, value: V) -> None:
        """Keep an entry, and let go of those that were not used for longest."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
