"""The generation that is served, as a follower sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index import ForwardIndex
from mmsearch.index.ids import UInt64
from mmsearch.index.layout import read_current
from mmsearch.types import Space
from serving.follow.bookmark import Bookmark
from serving.follow.stream import Position

#: In the `source` of a generation: by the name of a stream, the `position` it holds and `since` when.
STREAMS = "streams"


class Served:
    """What is served at this moment: a base, and perhaps an overlay of a follower.

    An overlay of another model's vectors (an upgrade under way) is none of ours: the next overlay is then made from the
    stream anew, over the base.

    Args:
        index_dir: the index.
        spaces: of the document tower that the follower embeds with.

    Raises:
        DataError: nothing was published yet.
        FingerprintError: the base was made by another model.
        IntegrityError: the generation is damaged.
    """

    def __init__(self, index_dir: Path, spaces: Sequence[Space]) -> None:
        served = ForwardIndex.open(index_dir)
        self._index_dir, self.generation = index_dir, served.generation
        self.base = served if served.base is None else ForwardIndex.open(index_dir, served.base)
        self.index = self.base if len(served.versions) > 1 else served
        _check(index_dir, self.base.spaces, spaces)

    @property
    def is_current(self) -> bool:
        """Whether it is still what is served."""
        return read_current(self._index_dir) == self.generation

    @property
    def has_overlay(self) -> bool:
        """Whether an overlay lies on the base."""
        return self.index is not self.base

    @property
    def num_overlay_rows(self) -> int:
        """Rows of the overlay, tombstones among them."""
        return self.index.num_rows - self.base.num_rows

    def forget_overlay(self) -> None:
        """Look at the base alone from now on: the overlay is damaged, and will be made again."""
        self.index = self.base

    def contents(self, doc_id: str) -> UInt64 | None:
        """Give the content hashes of a document, [8]; None when it is not there, or none were stored."""
        if not self.base.has_contents:
            return None
        rows = self.index.rows([doc_id])
        return None if rows[0] < 0 else self.index.contents(rows)[0]

    def has(self, doc_id: str) -> bool:
        """Tell whether a document can be found."""
        return bool(self.index.rows([doc_id])[0] >= 0)

    def deleted(self) -> list[str]:
        """Give the ids of the overlay's tombstones."""
        start = self.base.num_rows
        dead = np.flatnonzero(~self.index.live()[start:])
        doc_ids = self.index.doc_ids[start:] if dead.size else []
        return [doc_ids[row] for row in dead.tolist()]

    @property
    def streams(self) -> Mapping[str, Any]:
        """What the generation says of all streams that are followed into it."""
        found = self.index.source.get(STREAMS, {})
        return found if isinstance(found, Mapping) else {}

    def bookmark(self, stream: str, kept: Bookmark) -> Bookmark:
        """Tell how far a stream is in this generation: what it says itself, or what was kept beside the index.

        A generation that knows nothing of the stream was published by a refresh: it is read again from `since`.
        """
        told = self.streams.get(stream)
        position, since = (told["position"], told["since"]) if isinstance(told, Mapping) else (kept.since, kept.since)
        return Bookmark(self.generation, kept.position if kept.generation == self.generation else position, since)

    def next_since(self, stream: str, position: Position | None, since: Position | None) -> Position | None:
        """Tell from where to read again after the next refresh, when everything up to `position` is served.

        A refreshed base that needs no overlay holds the stream up to here by itself: the corpus that it was made of has
        caught up. A base that was compacted holds it too, but the corpus may not.
        """
        return since if self.has_overlay or stream in self.streams else position


def _check(index_dir: Path, stored: Sequence[Space], made: Sequence[Space]) -> None:
    found = {space.name: space for space in made}
    for space in stored:
        if found.get(space.name) != space:
            raise FingerprintError(
                f"{index_dir}: space '{space.name}' was made by another model than is followed with (fingerprint "
                f"{space.fingerprint}, and {getattr(found.get(space.name), 'fingerprint', 'none')}); follow with the "
                "model that the index was refreshed with"
            )
    if len(found) != len(stored):
        raise DataError(f"{index_dir}: the model makes other spaces ({', '.join(found)}) than are stored; refresh it")
