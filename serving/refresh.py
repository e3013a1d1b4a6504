"""Refresh: embed a corpus shard by shard, and publish the vectors with their query tower as one generation."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from mmsearch.index import GenerationWriter
from mmsearch.index.query_tower import check_tower_spaces, read_query_tower
from mmsearch.logs import progress
from mmsearch.protocols import DocumentEncoder
from mmsearch.types import Space
from serving.embed import EmbedJob
from serving.plan import ShardPlan, plan_shards, served_already
from serving.settings import RefreshSettings
from serving.work import ShardStore, clear, work_of
from serving.work_item import WorkItem

log = logging.getLogger(__name__)


def refresh(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    export_query_tower: Callable[[Path], object],
    index_dir: Path,
    settings: RefreshSettings,
) -> str:
    """Publish the vectors of a corpus; give the name of the generation that is served then.

    Nothing is done when the served generation holds the same content in spaces of the same fingerprints. After a kill
    at any moment, the next call embeds only the shards that were not finished, and publishes the same bytes.

    Args:
        corpus: the prepared corpus.
        encoder: the document tower.
        export_query_tower: writes the query tower of the same model into a folder that does not exist.
        index_dir: the index; made when it does not exist.
        settings: how to embed and store.

    Raises:
        DataError: the corpus is empty, a vector cannot be scored (the message names the document), another refresh is
            at work, or the disk refuses.
        IntegrityError: a checksum of the corpus does not hold.
        FingerprintError: the query tower is not of the encoder's model.
    """
    served = served_already(index_dir, corpus, encoder.spaces, settings.dtype)
    if served is not None:
        clear(index_dir)
        log.info("%s is up to date: %s holds this corpus and this model; nothing was published", index_dir, served)
        return served
    plans = plan_shards(corpus, encoder.spaces, settings.dtype, settings.batch_size)
    with GenerationWriter(index_dir, encoder.spaces, dtype=settings.dtype) as writer:
        tower = work_of(index_dir) / "query_tower"
        _export(export_query_tower, tower, encoder.spaces)
        job = EmbedJob(corpus.folder, lambda: encoder, settings.batch_size, settings.dtype, (), work_of(index_dir))
        store = ShardStore(work_of(index_dir), encoder.spaces, settings.dtype)
        _embed_all(plans, job, writer, store, corpus.num_videos)
        source = {"corpus_hash": corpus.content_hash, "num_videos": corpus.num_videos}
        name = writer.publish(query_tower=tower, source=source)
    clear(index_dir)
    return name


def _export(export_query_tower: Callable[[Path], object], tower: Path, spaces: tuple[Space, ...]) -> None:
    """Export the query tower first: that it does not fit must not come out after hours of embedding."""
    shutil.rmtree(tower, ignore_errors=True)
    export_query_tower(tower)
    offered = [space.space for space in read_query_tower(tower).spaces]
    check_tower_spaces(offered, spaces, "the exported query tower", "the document tower")


def _embed_all(
    plans: list[ShardPlan], job: EmbedJob, writer: GenerationWriter, store: ShardStore, num_videos: int
) -> None:
    start, embedded_now = time.monotonic(), 0
    with progress("refresh", num_videos, unit="videos") as bar:
        for shard in plans:
            kept = store.load(shard.key)
            if kept is None:
                job.embed(WorkItem(shard.key, tuple(shard.rows)))
                kept = store.load(shard.key)
                embedded_now += len(shard.rows)
            if kept is None:
                raise DataError(f"{job.work}: what was kept there is gone; refresh again")
            for video in kept.quarantined:
                log.warning("%s is left out: %s", video.doc_id, video.detail)
            writer.add(kept.doc_ids, kept.embedded)
            bar.advance(len(shard.rows))
    rate = embedded_now / max(time.monotonic() - start, 1e-9)
    log.info("embedded %d videos (%.1f a second); %d were done before", embedded_now, rate, num_videos - embedded_now)
