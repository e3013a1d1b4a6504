"""Refresh: bring an index up to what a corpus and a model are now, and publish that as one generation."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError, IntegrityError
from mmsearch.index import GenerationWriter
from mmsearch.index.query_tower import check_tower_spaces, read_query_tower
from mmsearch.protocols import DocumentEncoder
from mmsearch.types import Space
from serving.as_served import settle
from serving.departures import check_departures, tell_departures
from serving.patience import patiently
from serving.plan import RefreshPlan, make_plan, recipe_of
from serving.refresh_lock import RefreshLock
from serving.run import Refreshed, Run
from serving.settings import RefreshSettings
from serving.work import clear

log = logging.getLogger(__name__)


def refresh(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    export_query_tower: Callable[[Path], object],
    index_dir: Path,
    settings: RefreshSettings,
    *,
    load: Callable[[], DocumentEncoder] | None = None,
) -> Refreshed:
    """Publish the vectors of a corpus.

    Only videos whose content or model changed are embedded; the vectors of the others are copied bit by bit, and
    videos that the corpus has no more are not in the next generation. Nothing is done when the served generation holds
    just that. After a kill at any moment, the next call embeds only the items that were not finished, and publishes
    the same bytes.

    Args:
        corpus: the prepared corpus.
        encoder: the document tower; it says what the vectors are.
        export_query_tower: writes the query tower of the same model into a folder that does not exist.
        index_dir: the index; made when it does not exist.
        settings: how to embed and store.
        load: loads the document tower in other processes, so it must be picklable; None = everything is embedded in
            this process by `encoder`, whatever the settings' `executor` is.

    Raises:
        DataError: the corpus is empty, more of what is served would be deleted than `max_deleted_share` allows, a
            vector cannot be scored (the message names the document), another refresh is at work, or the disk refuses.
        IntegrityError: a checksum of the corpus does not hold, or the check before the swap fails.
        FingerprintError: the query tower is not of the encoder's model.
    """
    with RefreshLock(index_dir):
        return refresh_held(corpus, encoder, export_query_tower, index_dir, settings, load=load)


def refresh_held(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    export_query_tower: Callable[[Path], object],
    index_dir: Path,
    settings: RefreshSettings,
    *,
    load: Callable[[], DocumentEncoder] | None = None,
) -> Refreshed:
    """Refresh under a lock that the caller holds; see `refresh`.

    The index is held for writing only at the end. Whatever was published meanwhile, the plan stays good: the generation
    that it copies from is held open, and what a follower brought is read again by the follower, over the new base.
    """
    plan = make_plan(corpus, encoder, index_dir, settings)
    settled = settle(settings, plan.served)
    if plan.is_noop:
        return _nothing_to_do(plan, index_dir, recipe_of(encoder, settled))
    check_departures(plan, corpus, settings)
    tell_plan(plan, corpus)
    run = Run(corpus, encoder, index_dir, settled, plan, load)
    export_tower(export_query_tower, run.tower, encoder.spaces)
    run.embed()
    if run.changes_nothing:
        return run.finish(_served(plan), published=False)
    with patiently(lambda: GenerationWriter(index_dir, encoder.spaces, dtype=settled.dtype)) as writer:
        run.write(writer)
        name = writer.publish(query_tower=run.tower, source=run.source(), keep=settled.keep_generations)
    return run.finish(name, published=True)


def _nothing_to_do(plan: RefreshPlan, index_dir: Path, recipe: str) -> Refreshed:
    served = _served(plan)
    clear(index_dir, recipe)  # of a refresh that was killed between its publication and its end
    log.info("%s is up to date: %s holds this corpus and this model; nothing was published", index_dir, served)
    return Refreshed(served, published=False, plan=plan)


def tell_plan(plan: RefreshPlan, corpus: PreparedCorpus) -> None:
    """Warn of what a plan does that its reader may not expect."""
    tell_anew(plan)
    tell_departures(plan, corpus)
    if number := plan.counts.brought_back:
        log.warning(
            "%d videos of the table were deleted by a stream since: they come back until its follower has read again",
            number,
        )


def tell_anew(plan: RefreshPlan) -> None:
    """Warn that videos are embedded again although vectors of them are served, and say why."""
    if plan.served is not None and plan.anew is not None:
        log.warning("every video is embedded again, %d in all: %s", plan.num_embedded, plan.anew)


def _served(plan: RefreshPlan) -> str:
    if plan.served is None:
        raise IntegrityError("a plan that changes nothing has no index")
    return plan.served.generation


def export_tower(export_query_tower: Callable[[Path], object], tower: Path, spaces: Sequence[Space]) -> None:
    """Export a query tower into a folder, over what is there.

    Do it before anything else: that it does not fit must not come out after hours of embedding.

    Raises:
        FingerprintError: it is not of the model whose spaces these are.
        DataError: the disk refuses.
    """
    shutil.rmtree(tower, ignore_errors=True)
    try:
        export_query_tower(tower)
    except OSError as error:
        raise DataError(
            f"{tower}: the query tower cannot be exported: {error.strerror or error}; make room or mend the disk, and "
            "refresh again"
        ) from error
    offered = [space.space for space in read_query_tower(tower).spaces]
    check_tower_spaces(offered, list(spaces), "the exported query tower", "the document tower")
