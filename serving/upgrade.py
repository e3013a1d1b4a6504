"""A new model over an index of an older one, in rounds: what is embedded so far is served before all is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.layout import read_current
from mmsearch.protocols import DocumentEncoder
from mmsearch.types import Space
from serving.as_served import SettledSettings, settle
from serving.departures import check_departures
from serving.items import PlannedItem
from serving.patience import patiently
from serving.plan import EMBED, LEAVE_OUT, RefreshPlan, make_plan, recipe_of
from serving.refresh import export_tower, refresh_held, tell_anew
from serving.refresh_lock import RefreshLock
from serving.run import Refreshed, Run
from serving.settings import RefreshSettings
from serving.work import work_of
from serving.work_item import Quarantined

log = logging.getLogger(__name__)


def refresh_in_rounds(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    export_query_tower: Callable[[Path], object],
    index_dir: Path,
    settings: RefreshSettings,
    *,
    load: Callable[[], DocumentEncoder] | None = None,
) -> Refreshed:
    """Refresh, and publish after every `settings.publish_every` videos while a new model replaces an older one.

    Each of these generations is an overlay with the new model's query tower on the older model's generation: the
    videos embedded so far, in the order of the corpus, whose rows the next round copies bit by bit. Whole work items
    make a round, at least one. The last round is `refresh`: it publishes the whole, with the bytes that it would have
    had without the others. Videos that left the corpus are served until then. After a kill the next call goes on
    from the last overlay.

    Where nothing of an older model is served (or `publish_every` is None, or `anew` asks for everything), this is
    `refresh`; so it is where an overlay of something else is served, which rounds would undo.

    Args:
        corpus: the prepared corpus.
        encoder: the document tower; it says what the vectors are.
        export_query_tower: writes the query tower of the same model into a folder that does not exist.
        index_dir: the index; made when it does not exist.
        settings: how to embed and store, and after how many videos to publish.
        load: as for `refresh`.

    Raises:
        DataError: as `refresh`.
        IntegrityError: as `refresh`.
        FingerprintError: the query tower is not of the encoder's model.
    """
    with RefreshLock(index_dir):
        return _in_rounds(corpus, encoder, export_query_tower, index_dir, settings, load)


def _in_rounds(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    export_query_tower: Callable[[Path], object],
    index_dir: Path,
    settings: RefreshSettings,
    load: Callable[[], DocumentEncoder] | None,
) -> Refreshed:
    quarantined: list[Quarantined] = []
    num_embedded = 0
    tower: Path | None = None
    while (plan := _next_round(corpus, encoder, index_dir, settings)) is not None:
        settled = settle(settings, plan.served)
        if tower is None:
            tell_anew(plan)
            tower = work_of(index_dir, recipe_of(encoder, settled)) / "query_tower"
            export_tower(export_query_tower, tower, encoder.spaces)
        done = _do_round(corpus, encoder, index_dir, settled, plan, tower, load)
        if done is not None:  # else the plan was out of date
            quarantined += done
            num_embedded += plan.num_embedded - len(done)
            settings = settings.model_copy(update={"retry_quarantined": False})  # they were tried, once is enough
    last = refresh_held(corpus, encoder, export_query_tower, index_dir, settings, load=load)
    return replace(
        last,
        num_embedded=last.num_embedded + num_embedded,
        quarantined=(*quarantined, *last.quarantined),
    )


def _next_round(
    corpus: PreparedCorpus, encoder: DocumentEncoder, index_dir: Path, settings: RefreshSettings
) -> RefreshPlan | None:
    """Plan the next round; None = what is left is `refresh`'s."""
    if settings.publish_every is None or settings.anew:
        return None
    plan = make_plan(corpus, encoder, index_dir, settings)
    served = plan.served
    if served is None or plan.num_embedded <= settings.publish_every:
        return None
    if base_of(served, encoder.spaces) is None:
        log.info("%s: %s is no generation of an older model; only the whole is published", index_dir, served.generation)
        return None
    check_departures(plan, corpus, settings)
    return _first(plan, settings.publish_every)


def base_of(served: ForwardIndex, spaces: Sequence[Space]) -> str | None:
    """Name the generation of an older model on which an overlay with these spaces may lie.

    None where there is none: the served vectors are of this model already, or the served overlay holds changes (of a
    follower, or of a third model) that another overlay on the same base would undo.
    """
    if served.base is None:
        return None if served.spaces == tuple(spaces) else served.generation
    is_ours = len(served.versions) > 1 and served.spaces == tuple(spaces)
    return served.base if is_ours else None


def _first(plan: RefreshPlan, num_videos: int) -> RefreshPlan:
    """Give the part of a plan that embeds its first items, at least so many videos; the others are left out."""
    items: list[PlannedItem] = []
    chosen = np.zeros(len(plan.sources), np.bool_)
    left = num_videos
    for item in plan.items:
        if left <= 0:
            break
        items.append(item)
        chosen[item.videos.rows] = True
        left -= len(item.videos)
    sources = np.where((plan.sources == EMBED) & ~chosen, LEAVE_OUT, plan.sources)
    return replace(plan, items=tuple(items), sources=sources)


def _do_round(
    corpus: PreparedCorpus,
    encoder: DocumentEncoder,
    index_dir: Path,
    settings: SettledSettings,
    plan: RefreshPlan,
    tower: Path,
    load: Callable[[], DocumentEncoder] | None,
) -> tuple[Quarantined, ...] | None:
    """Embed what a plan says and publish it as an overlay; give who went to quarantine, None if the plan was old."""
    served = plan.served
    base = None if served is None else base_of(served, encoder.spaces)
    if served is None or base is None:
        return None
    run = Run(corpus, encoder, index_dir, settings, plan, load)
    run.embed()
    quarantined = run.quarantined
    num_done = plan.num_embedded + plan.num_copied - len(quarantined)
    if num_done:
        with patiently(lambda: GenerationWriter(index_dir, encoder.spaces, dtype=settings.dtype, base=base)) as writer:
            if read_current(index_dir) != served.generation:  # a follower's: an overlay of ours would undo it
                return None
            run.write(writer)
            source = run.source() | {"corpus_hash": None, "upgrade_from": base}
            name = writer.publish(query_tower=tower, source=source, keep=settings.keep_generations)
        log.info("%s: %d of %d videos have vectors of the new model", name, num_done, len(plan.sources))
    run.note_quarantine()
    return quarantined
