"""Embed work items: read, run the towers, set aside what is not finite, commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch import workers
from mmsearch.allocator import keep_freed_memory
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.protocols import Bool, DocumentEncoder, Embedded
from mmsearch.types import Modality
from serving.batches import BatchRunner, EmbeddedBatch
from serving.work import EmbeddedShard, ShardStore, read_outputs
from serving.work_item import Done, Quarantined, Reason, WorkItem


@dataclass(frozen=True)
class EmbedJob:
    """What embedding needs beside a work item. It can be sent to other processes, where it opens everything anew.

    Args:
        corpus: folder of the prepared corpus.
        load: gives the document tower; picklable where items are embedded in other processes.
        batch_size: videos embedded at once.
        dtype: how vectors are kept in the work folder.
        keep: modalities whose tower outputs are kept beside the vectors.
        work: the work folder; results of items appear there.
    """

    corpus: Path
    load: Callable[[], DocumentEncoder]
    batch_size: int
    dtype: str
    keep: tuple[Modality, ...]
    work: Path

    def __reduce__(self) -> tuple[Any, ...]:  # what was opened here stays here
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def open(self) -> None:
        """Load the tower and open the corpus now, not with the first item."""
        _ = self._corpus, self._encoder

    def result(self, item: WorkItem) -> Done | None:
        """Tell what lies in the work folder of an item; None when there is no valid result."""
        shard = self._store.load(item.key)
        return None if shard is None else Done(item.key, len(item.rows), tuple(shard.quarantined))

    def embed(self, item: WorkItem, left_out: Mapping[int, tuple[Reason, str]] | None = None) -> Done:
        """Embed an item and commit the result: the whole file appears, or nothing.

        Videos with a vector that is not finite go to quarantine; so do those of `left_out`, which are not read. The
        others are embedded as if these did not exist, so that the bytes do not depend on how they were found.

        Args:
            item: what to embed.
            left_out: places in the item to leave out, each with its reason.

        Raises:
            IntegrityError: a checksum of the corpus does not hold.
            DataError: the disk refuses.
            Exception: whatever the tower raises.
        """
        found = self.result(item)
        if found is not None:
            return found
        left_out = left_out or {}
        places = [place for place in range(len(item.rows)) if place not in left_out]
        batches = [_finite(batch) for batch in self._run(item, places)]
        shut_out = [
            Quarantined(self._corpus.doc_ids[item.rows[place]], reason, detail)
            for place, (reason, detail) in left_out.items()
        ]
        shard = self._joined([batch for batch, _ in batches], [*shut_out, *(q for _, bad in batches for q in bad)])
        self._store.save(item.key, shard)
        return Done(item.key, len(item.rows), shard.quarantined)

    def rehearse(self, item: WorkItem, places: Sequence[int]) -> None:
        """Embed some videos of an item and forget the vectors: only whether it can be done is asked."""
        for _ in self._run(item, places):
            pass

    def _run(self, item: WorkItem, places: Sequence[int]) -> list[EmbeddedBatch]:
        def read(some: Sequence[int]) -> Any:
            return self._corpus.read(item.rows[place] for place in some)

        known = {} if item.reused is None else read_outputs(item.reused)
        done = []
        for batch in BatchRunner(self._encoder, read, known, self.keep).run(places, self.batch_size):
            workers.beat()  # the time limit is one of a batch
            done.append(batch)
        return done

    def _joined(self, batches: Sequence[EmbeddedBatch], bad: Sequence[Quarantined]) -> EmbeddedShard:
        embedded = {
            space.name: Embedded(
                np.concatenate(
                    [np.empty((0, space.row_dim), np.float32), *(b.embedded[space.name].vectors for b in batches)]
                ),
                np.concatenate([np.empty(0, np.bool_), *(b.embedded[space.name].present for b in batches)]),
            )
            for space in self._encoder.spaces
        }
        towers: dict[Modality, dict[int, Any]] = {modality: {} for modality in self.keep}
        start = 0
        for batch in batches:
            for modality, outputs in batch.towers.items():
                towers[modality] |= {start + at: output for at, output in outputs.items()}
            start += len(batch.doc_ids)
        doc_ids = tuple(doc_id for batch in batches for doc_id in batch.doc_ids)
        return EmbeddedShard(doc_ids, embedded, towers, tuple(sorted(bad, key=lambda q: q.doc_id)))

    @cached_property
    def _corpus(self) -> PreparedCorpus:
        return PreparedCorpus.open(self.corpus)

    @cached_property
    def _encoder(self) -> DocumentEncoder:
        keep_freed_memory()
        return self.load()

    @cached_property
    def _store(self) -> ShardStore:
        return ShardStore(self.work, self._encoder.spaces, self.dtype)


def _finite(batch: EmbeddedBatch) -> tuple[EmbeddedBatch, list[Quarantined]]:
    """Split a batch into the videos whose vectors are finite, and the others with what they have."""
    bad: Bool = np.zeros(len(batch.doc_ids), np.bool_)
    where: dict[int, list[str]] = {}
    for name, embedded in batch.embedded.items():
        broken = embedded.present & ~np.isfinite(embedded.vectors).all(axis=1)
        bad |= broken
        for row in np.flatnonzero(broken).tolist():
            where.setdefault(row, []).append(name)
    if not bad.any():
        return batch, []
    kept = np.flatnonzero(~bad).tolist()
    place = {old: new for new, old in enumerate(kept)}
    whole = EmbeddedBatch(
        tuple(batch.doc_ids[row] for row in kept),
        {name: Embedded(e.vectors[kept], e.present[kept]) for name, e in batch.embedded.items()},
        {m: {place[row]: out for row, out in outputs.items() if row in place} for m, outputs in batch.towers.items()},
    )
    return whole, [
        Quarantined(batch.doc_ids[row], Reason.NOT_FINITE, f"its vector in {', '.join(names)} is NaN or infinite")
        for row, names in sorted(where.items())
    ]
