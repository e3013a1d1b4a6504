"""The items that are still to be done, handed out one by one with what they need, and taken back when they are done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from mmsearch.index.ids import hash_ids
from serving.items import PlannedItem, UInt64
from serving.towers import KeptOutputs
from serving.work import EmbeddedShard, ShardStore, write_outputs
from serving.work_item import Done, Quarantined, WorkItem


class WorkList(Collection[WorkItem]):
    """Work items without a valid result, made one by one while they are drawn.

    Args:
        items: the plan's.
        store: where results lie; what lies there already is not done again.
        kept: outputs of towers, to be used and added to; None = none are kept.
        folder: where files for items are put.
        last: gives one more item when all others were drawn, from the ids that are in quarantine until then; or None.
    """

    def __init__(
        self,
        items: Sequence[PlannedItem],
        store: ShardStore,
        kept: KeptOutputs | None,
        folder: Path,
        last: Callable[[Collection[str]], WorkItem | None],
    ) -> None:
        self._store, self._kept, self._folder, self._last = store, kept, folder, last
        #: Every video that could not be embedded, with its content hashes.
        self.quarantined: list[tuple[Quarantined, UInt64]] = []
        self._todo = {item.key: item for item in items if not self._is_done(item)}

    def __len__(self) -> int:
        return len(self._todo) + 1

    def __contains__(self, item: object) -> bool:
        return isinstance(item, WorkItem) and item.key in self._todo

    def __iter__(self) -> Iterator[WorkItem]:
        for item in list(self._todo.values()):
            yield WorkItem(item.key, tuple(item.videos.rows.tolist()), self._give_outputs(item))
        last = self._last({video.doc_id for video, _ in self.quarantined})
        if last is not None:
            yield last

    @property
    def num_videos(self) -> int:
        """Videos of the items that are still to be done."""
        return sum(len(item.videos) for item in self._todo.values())

    def finish(self, done: Done) -> int:
        """Take an item back; give the number of its videos (0 = it is the last one, which is nobody's)."""
        item = self._todo.pop(done.key, None)
        if item is None:
            return 0
        with suppress(OSError):  # it goes with the work folder
            self._reused_path(item).unlink()
        self._note(item, done.quarantined)
        if self._kept is not None and (shard := self._store.load(item.key)) is not None:
            self._take_outputs(item, shard)
        return len(item.videos)

    def _is_done(self, item: PlannedItem) -> bool:
        shard = self._store.load(item.key)
        if shard is None:
            return False
        self._note(item, shard.quarantined)
        self._take_outputs(item, shard)
        return True

    def _note(self, item: PlannedItem, quarantined: Sequence[Quarantined]) -> None:
        for video in quarantined:
            place = int(np.flatnonzero(item.videos.id_hashes == hash_ids([video.doc_id.encode()])[0])[0])
            self.quarantined.append((video, item.videos.contents[place]))

    def _give_outputs(self, item: PlannedItem) -> Path | None:
        outputs = {} if self._kept is None else self._kept.find(item)
        if not any(outputs.values()):
            return None
        write_outputs(self._reused_path(item), outputs)
        return self._reused_path(item)

    def _take_outputs(self, item: PlannedItem, shard: EmbeddedShard) -> None:
        """Keep the outputs of a finished item; a result counts its videos without those in quarantine."""
        outputs = self._store.take_outputs(item.key) if self._kept is not None else {}
        if self._kept is None or not outputs:
            return
        ids = hash_ids([doc_id.encode() for doc_id in shard.doc_ids])
        places = np.flatnonzero(np.isin(item.videos.id_hashes, ids)).tolist()
        self._kept.put(item, {m: {places[at]: value for at, value in some.items()} for m, some in outputs.items()})

    def _reused_path(self, item: PlannedItem) -> Path:
        return self._folder / f"{item.key}.reused.npz"
