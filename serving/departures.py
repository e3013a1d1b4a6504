"""Served videos that a corpus has no more: told apart by where they went, and refused when they are too many."""

from __future__ import annotations

import logging

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from serving.plan import RefreshPlan
from serving.rejections import rejected_list
from serving.settings import RefreshSettings

log = logging.getLogger(__name__)

#: Fewer deletes than these are never refused: a tiny index may lose most of what it holds.
MIN_REFUSED = 20


def check_departures(plan: RefreshPlan, corpus: PreparedCorpus, settings: RefreshSettings) -> None:
    """Refuse a plan that deletes more than `max_deleted_share` of what is served, from `MIN_REFUSED` videos on.

    Raises:
        DataError: it does; the message says why they went, and what allows it.
    """
    problem = refusal(plan, corpus, settings)
    if problem is not None:
        raise DataError(problem)


def refusal(plan: RefreshPlan, corpus: PreparedCorpus, settings: RefreshSettings) -> str | None:
    """Say why a plan would be refused; None = it would not."""
    counts, served = plan.counts, plan.served
    if served is None or counts.deleted < MIN_REFUSED:
        return None
    if counts.deleted <= settings.max_deleted_share * served.num_docs:
        return None
    return (
        f"{corpus.folder}: {counts.deleted} of the {served.num_docs} videos that are served would be deleted, more "
        f"than max_deleted_share={settings.max_deleted_share:g} allows: {counts.rejected} because prepare rejects "
        f"them now (listed in {rejected_list(corpus)}), and {counts.gone} that are gone from the table; nothing was "
        f"done, and {served.generation} stays served. Mend the table or its media and prepare again, or allow it "
        "this once: max_deleted_share=1"
    )


def tell_departures(plan: RefreshPlan, corpus: PreparedCorpus) -> None:
    """Warn of served videos that are deleted because prepare rejects them now."""
    if number := plan.counts.rejected:
        log.warning(
            "%d served videos are left out because prepare rejects them now: they are listed in %s",
            number,
            rejected_list(corpus),
        )
