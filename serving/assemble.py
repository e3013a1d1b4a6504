"""Putting a generation together in the order of the corpus: vectors embedded now, and copies of served ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import IntegrityError
from mmsearch.index import ForwardIndex, GenerationWriter, vectors
from mmsearch.index.manifest import Dtype, StoredSpace
from mmsearch.index.stored import Stored, to_stored
from mmsearch.logs import ProgressBar
from mmsearch.protocols import Bool, Embedded
from mmsearch.types import Space
from serving.check import Sample
from serving.compare import Int64
from serving.items import PlannedItem
from serving.plan import EMBED, LEAVE_OUT, RefreshPlan
from serving.work import EmbeddedShard, ShardStore

Array = npt.NDArray[Any]


class Results:
    """The results of all items one after another, as if they were one; an item is in memory at a time.

    Args:
        items: in the order of the corpus.
        store: holds the result of each.
        spaces: of the vectors.
    """

    def __init__(self, items: Iterable[PlannedItem], store: ShardStore, spaces: Sequence[Space]) -> None:
        self._items, self._store, self._spaces = iter(items), store, spaces
        self._shard = EmbeddedShard((), {})
        self._failed: frozenset[str] = frozenset()
        self._at = self._left = 0

    def take(self, doc_ids: Sequence[str]) -> tuple[Bool, dict[str, Embedded]]:
        """Give what became of the next videos of the items.

        Args:
            doc_ids: their ids.

        Returns:
            Which have vectors (the others are in quarantine), [B]; and the vectors of those that have.

        Raises:
            IntegrityError: the result of an item is gone, or is of other videos.
        """
        there = np.ones(len(doc_ids), np.bool_)
        parts = {space.name: [_nothing(space)] for space in self._spaces}
        start = 0
        while start < len(doc_ids):
            if not self._left:
                self._next()
            ids = doc_ids[start : start + self._left]
            there[start : start + len(ids)] = [doc_id not in self._failed for doc_id in ids]
            stop = self._at + int(there[start : start + len(ids)].sum())
            if [doc_id for doc_id in ids if doc_id not in self._failed] != list(self._shard.doc_ids[self._at : stop]):
                raise IntegrityError(
                    f"{self._store.folder}: the kept result of a work item is of other videos; remove this folder"
                )
            for name, embedded in self._shard.embedded.items():
                part = Embedded(embedded.vectors[self._at : stop], embedded.present[self._at : stop])
                parts[name].append(part)
            self._at, self._left, start = stop, self._left - len(ids), start + len(ids)
        return there, {name: _joined(some) for name, some in parts.items()}

    def _next(self) -> None:
        item = next(self._items)
        shard = self._store.load(item.key)
        if shard is None:
            raise IntegrityError("a result of an item is gone or cannot be read; refresh again: it alone is made anew")
        self._shard, self._at, self._left = shard, 0, len(item.videos)
        self._failed = frozenset(video.doc_id for video in shard.quarantined)


def assemble(
    corpus: PreparedCorpus,
    plan: RefreshPlan,
    results: Results,
    writer: GenerationWriter,
    spaces: Sequence[Space],
    dtype: Dtype,
    sample: Sample,
    bar: ProgressBar,
) -> None:
    """Write all videos of a plan but those that are left out or in quarantine.

    Copied rows are those of the served generation bit by bit. Memory: a shard of the corpus and an item.

    Args:
        corpus: the corpus of the plan.
        plan: where each vector comes from.
        results: of the plan's items.
        writer: of the next generation.
        spaces: of the generation.
        dtype: how it stores vectors.
        sample: takes note of what is written of the videos in it.
        bar: moves on by the videos.

    Raises:
        DataError: a vector cannot be scored, or the disk refuses.
        IntegrityError: the corpus or a result is not what it was, or a copied vector is damaged.
    """
    stored = [StoredSpace(**_fields(space), dtype=dtype) for space in spaces]
    start = 0
    for doc_ids, contents in corpus.content_blocks():
        sources = plan.sources[start : start + len(doc_ids)]
        places = np.flatnonzero(sources == EMBED)
        there, embedded = results.take([doc_ids[place] for place in places.tolist()])
        written = sources != LEAVE_OUT
        written[places[~there]] = False
        ids = [doc_ids[place] for place in np.flatnonzero(written).tolist()]
        given = _merged(plan.served, sources[written], stored, embedded, ids)
        writer.add(ids, given, contents[written])
        sample.note(start + np.flatnonzero(written), given)
        start += len(doc_ids)
        bar.advance(len(doc_ids))


def _merged(
    served: ForwardIndex | None,
    sources: Int64,
    spaces: Sequence[StoredSpace],
    embedded: Mapping[str, Embedded],
    doc_ids: Sequence[str],
) -> dict[str, Stored]:
    """Give the vectors of a block as they will lie on the disk: embedded ones and copies in their places."""
    copied = sources >= 0
    fresh = [doc_ids[place] for place in np.flatnonzero(~copied).tolist()]
    merged: dict[str, Stored] = {}
    for space in spaces:
        vectors.check(space, fresh, embedded[space.name])
        merged[space.name] = to_stored(embedded[space.name], space.num_codes, space.dtype)
        if served is not None and copied.any():
            merged[space.name] = _interleaved(copied, served.raw(space.name, sources[copied]), merged[space.name])
    return merged


def _interleaved(first: Bool, a: Stored, b: Stored) -> Stored:
    """Put rows of `a` where `first` is True, rows of `b` elsewhere."""
    stored = Stored(_spread(first, a.vectors, b.vectors), None, _spread(first, a.present, b.present))
    if a.scales is None or b.scales is None:
        return stored
    return Stored(stored.vectors, _spread(first, a.scales, b.scales), stored.present)


def _spread(first: Bool, a: Array, b: Array) -> Array:
    both = np.empty((len(first), *a.shape[1:]), a.dtype)
    both[first], both[~first] = a, b
    return both


def _nothing(space: Space) -> Embedded:
    return Embedded(np.empty((0, space.row_dim), np.float32), np.empty(0, np.bool_))


def _joined(parts: Sequence[Embedded]) -> Embedded:
    return Embedded(np.concatenate([p.vectors for p in parts]), np.concatenate([p.present for p in parts]))


def _fields(space: Space) -> dict[str, Any]:
    return {"name": space.name, "dim": space.dim, "fingerprint": space.fingerprint, "num_codes": space.num_codes}
