"""One refresh under way, between its plan and its publication."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.index import GenerationWriter
from mmsearch.logs import progress
from mmsearch.protocols import DocumentEncoder
from mmsearch.types import Modality
from serving.as_served import SettledSettings
from serving.assemble import Results, assemble
from serving.check import MIN_COSINE, Sample, draw
from serving.embed import EmbedJob
from serving.executors import LocalSettings
from serving.items import UInt64
from serving.plan import RefreshPlan, model_key, quarantine_key, recipe_of, towers_of
from serving.quarantine import QuarantinedRow, write_quarantine
from serving.towers import KeptOutputs, towers_dir
from serving.work import ShardStore, clear, work_of
from serving.work_item import Executor, Quarantined, WorkItem
from serving.work_list import WorkList

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to.

    Args:
        generation: the name of the generation that is served now.
        published: whether the refresh published it.
        plan: what there was to do.
        num_embedded: videos that were embedded, by this refresh or one that it went on with.
        quarantined: videos that could not be embedded this time; they are not served.
    """

    generation: str
    published: bool
    plan: RefreshPlan
    num_embedded: int = 0
    quarantined: tuple[Quarantined, ...] = ()


class Run:
    """One refresh under way: embeds what is planned, writes the generation, and takes note of what happened."""

    def __init__(
        self,
        corpus: PreparedCorpus,
        encoder: DocumentEncoder,
        index_dir: Path,
        settings: SettledSettings,
        plan: RefreshPlan,
        load: Callable[[], DocumentEncoder] | None,
    ) -> None:
        self._corpus, self._encoder, self._index_dir = corpus, encoder, index_dir
        self._settings, self._plan = settings, plan
        self._recipe = recipe_of(encoder, settings)
        self._work = work = work_of(index_dir, self._recipe)
        self._store = ShardStore(work, encoder.spaces, settings.dtype)
        self._marks = towers_of(encoder, settings)
        given = (lambda: encoder) if load is None else load
        self._job = EmbedJob(corpus.folder, given, settings.batch_size, settings.dtype, tuple(self._marks), work)
        executor = LocalSettings(num_workers=0) if load is None else settings.executor
        self._executor: Executor = executor.build()
        rows = draw(plan, settings.check_sample, corpus.content_hash)
        self._sample = Sample(rows, [video.doc_id for video in corpus.read(rows.tolist())], encoder.spaces)
        self._check_item: WorkItem | None = None
        self._quarantined: list[tuple[Quarantined, UInt64]] = []
        self._rate: float | None = None

    def embed(self) -> None:
        """Embed every item that has no valid result yet, and the sample."""
        total, start, num_embedded = self._plan.num_embedded, time.monotonic(), 0
        with ExitStack() as stack:
            kept = stack.enter_context(self._open_kept()) if self._marks else None
            todo = WorkList(self._plan.items, self._store, kept, self._work, self._draw_check)
            bar = stack.enter_context(progress("embed", total, unit="videos"))
            bar.skip(total - todo.num_videos)
            for done in self._executor.run(todo, self._job):
                finished = todo.finish(done)
                bar.advance(finished)
                num_embedded += finished
        self._quarantined = todo.quarantined
        rate = num_embedded / max(time.monotonic() - start, 1e-9)
        served = self._plan.served
        self._rate = None if served is None else served.source.get("videos_per_s")
        if num_embedded >= self._settings.shard_size or (num_embedded and self._rate is None):
            self._rate = round(rate, 3)  # of a handful of videos it would be that of starting up
        before = total - num_embedded
        log.info("embedded %d videos (%.1f a second); %d were done before", num_embedded, rate, before)

    def _draw_check(self, quarantined: Collection[str]) -> WorkItem | None:
        self._check_item = self._sample.item(self._recipe, self._corpus, quarantined)
        return self._check_item

    def _open_kept(self) -> KeptOutputs:
        return KeptOutputs(towers_dir(self._index_dir), self._marks)

    @property
    def tower(self) -> Path:
        """Folder into which the query tower is to be exported."""
        return self._work / "query_tower"

    @property
    def changes_nothing(self) -> bool:
        """Whether all that was to be embedded went to quarantine, and nothing of it was ever served."""
        plan = self._plan
        replaced = plan.counts.deleted + plan.num_dropped + plan.num_replaced + plan.new_tower
        return plan.anew is None and not replaced and len(self._quarantined) == plan.num_embedded

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """The videos that could not be embedded."""
        return tuple(video for video, _ in self._quarantined)

    def write(self, writer: GenerationWriter) -> None:
        """Write the generation, and compare a sample of it with what the model gives now."""
        settings, spaces = self._settings, self._encoder.spaces
        results = Results(self._plan.items, self._store, spaces)
        with progress("write", self._corpus.num_videos, unit="videos") as bar:
            assemble(self._corpus, self._plan, results, writer, spaces, settings.dtype, self._sample, bar)
        again = self._store.load(self._check_item.key) if self._check_item is not None else None
        if again is not None:
            lowest = self._sample.compare(again, MIN_COSINE[settings.dtype])
            log.info("checked %d videos before the swap: lowest cosine %.5f", len(again.doc_ids), lowest)

    def source(self) -> dict[str, Any]:
        """Give what the manifest keeps about where the vectors come from."""
        plan, lost = self._plan, len(self._quarantined)
        return {
            "corpus_hash": self._corpus.content_hash,
            "num_videos": self._corpus.num_videos,
            "num_embedded": plan.num_embedded - lost,
            "num_copied": plan.num_copied,
            "num_quarantined": lost + len(plan.left_out),
            "videos_per_s": self._rate,
            "prepared": self._corpus.settings.for_record(),  # how a follower prepares what comes later
        }

    def finish(self, generation: str, *, published: bool) -> Refreshed:
        """Remember who is in quarantine, clean up, and give the result."""
        self.note_quarantine()
        if published and self._marks:
            self._prune()
        clear(self._index_dir, self._recipe)
        embedded = self._plan.num_embedded - len(self._quarantined)
        return Refreshed(generation, published, self._plan, embedded, self.quarantined)

    def note_quarantine(self) -> None:
        """Write the list of all videos that are in quarantine now, over the one before."""
        model = model_key(self._encoder)
        new = [QuarantinedRow(q, quarantine_key(model, q.doc_id, contents)) for q, contents in self._quarantined]
        write_quarantine(self._index_dir, [*self._plan.left_out, *new])

    def _prune(self) -> None:
        columns = {modality: list(Modality).index(modality) for modality in self._marks}
        blocks = [contents[:, list(columns.values())] for _, contents in self._corpus.content_blocks()]
        hashes = np.concatenate(blocks)
        with self._open_kept() as kept:
            removed = kept.prune({modality: hashes[:, at] for at, modality in enumerate(columns)})
        log.info("%s: removed %d outputs that no video needs any more", towers_dir(self._index_dir), removed)
