"""Cutting what must be embedded into work items, each with a key of all that decides its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmsearch.files import hash_bytes
from mmsearch.protocols import Bool
from mmsearch.types import Modality

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Videos:
    """Some rows of a corpus, as numbers alone.

    Args:
        rows: rows of the corpus, ascending, [B].
        id_hashes: a hash of each id, [B].
        contents: the content hash of each modality, [B, 8].
        known: of the modalities whose tower outputs are kept, in their order: True where an earlier refresh saw the
            same content of this video, [B, K].
    """

    rows: Int64
    id_hashes: UInt64
    contents: UInt64
    known: Bool

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | Bool) -> Videos:
        return Videos(self.rows[part], self.id_hashes[part], self.contents[part], self.known[part])


def joined(parts: Sequence[Videos]) -> Videos:
    """Put videos one after another; at least one part."""
    names = ("rows", "id_hashes", "contents", "known")
    return Videos(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class PlannedItem:
    """Videos that are embedded and committed together.

    Args:
        recipe: hash of everything beside the videos that decides the bytes of their vectors.
        videos: the videos.
        keep: the modalities whose tower outputs are kept.
    """

    recipe: str
    videos: Videos
    keep: tuple[Modality, ...]

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the bytes of the result, the name under which it is kept."""
        videos = self.videos
        arrays = (videos.id_hashes, videos.contents, videos.known)
        return hash_bytes(self.recipe.encode(), *(np.ascontiguousarray(array).tobytes() for array in arrays))

    @property
    def reusable(self) -> Mapping[Modality, Int64]:
        """Places of the videos whose tower outputs an earlier refresh may have kept, by modality."""
        return {m: np.flatnonzero(self.videos.known[:, at]) for at, m in enumerate(self.keep)}


class ItemCutter:
    """Collects videos that must be embedded and cuts them into items; the last one may be small.

    Args:
        recipe: hash of everything beside the videos that decides the bytes of their vectors.
        keep: the modalities whose tower outputs are kept.
        size: videos of an item.
    """

    def __init__(self, recipe: str, keep: Sequence[Modality], size: int) -> None:
        self._recipe, self._keep, self._size = recipe, tuple(keep), size
        self._waiting: list[Videos] = []

    def add(self, videos: Videos) -> Iterator[PlannedItem]:
        """Take videos, in the order of the corpus; give the items that are full now."""
        self._waiting.append(videos)
        if sum(map(len, self._waiting)) < self._size:
            return
        waiting = joined(self._waiting)
        whole = len(waiting) // self._size * self._size
        for start in range(0, whole, self._size):
            yield self._item(waiting[start : start + self._size])
        self._waiting = [waiting[whole:]]

    def close(self) -> Iterator[PlannedItem]:
        """Give the item of what is left, if there is something."""
        if any(map(len, self._waiting)):
            yield self._item(joined(self._waiting))
        self._waiting = []

    def _item(self, videos: Videos) -> PlannedItem:
        return PlannedItem(self._recipe, videos, self._keep)
