"""A plan as people and programs read it: what will be done, how long it will take, how much it will write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from mmsearch.types import Space
from serving.plan import RefreshPlan
from serving.work import ShardStore

_ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}
#: Of a document, beside its vectors: content hashes, hash, row and offset of its id, and the id itself, about.
_FIXED_BYTES = 64 + 8 + 4 + 8 + 24

BROUGHT_BACK = "they come back until its follower has read again"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a refresh will cost, about.

    Args:
        seconds: for embedding, at the rate of the refresh before; None = there was none.
        bytes: that the generation takes on the disk.
        num_done: of the videos to embed those that a refresh which did not end has done already.
    """

    seconds: float | None
    bytes: int
    num_done: int = 0


def bytes_per_video(spaces: Sequence[Space], dtype: str) -> int:
    """Give the room of a video in an index, its id taken as 24 bytes."""
    scales = 4 if dtype == "int8" else 0
    return _FIXED_BYTES + sum(s.row_dim * _ITEM_BYTES[dtype] + s.num_codes * scales + 1 for s in spaces)


def count_done(plan: RefreshPlan, store: ShardStore) -> int:
    """Count the videos to embed whose vectors a refresh that did not end left in its work folder."""
    return sum(len(item.videos) for item in plan.items if store.holds(item.key))


def cost_of(plan: RefreshPlan, spaces: Sequence[Space], dtype: str, num_done: int = 0) -> Cost:
    """Estimate the cost of a plan. Videos of which only texts changed cost less than that, where outputs are kept."""
    if plan.is_noop:
        return Cost(0.0, 0)
    rate = plan.served.source.get("videos_per_s") if plan.served is not None else None
    left = plan.num_embedded - num_done
    seconds = left / rate if isinstance(rate, int | float) and rate > 0 else None
    written = plan.num_embedded + plan.num_copied
    return Cost(seconds if left else 0.0, written * bytes_per_video(spaces, dtype), num_done)


def to_json(plan: RefreshPlan, cost: Cost) -> dict[str, Any]:
    """Give the plan as one JSON object."""
    counts = plan.counts
    return {
        "served": None if plan.served is None else plan.served.generation,
        "new": counts.new,
        "changed": counts.changed,
        "changed_by": {modality.value: number for modality, number in counts.changed_by.items() if number},
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "deleted_rejected": counts.rejected,
        "deleted_gone": counts.gone,
        "brought_back": counts.brought_back,
        "left_out": len(plan.left_out),
        "anew": plan.anew,
        "features_lost": list(plan.lost),
        "features_new": list(plan.gained),
        "embed": plan.num_embedded,
        "embedded_before": cost.num_done,
        "copy": plan.num_copied,
        "towers_reused": {
            m.value: int(sum(len(item.reusable[m]) for item in plan.items))
            for m in (plan.items[0].keep if plan.items else ())
        },
        "new_tower": plan.new_tower,
        "noop": plan.is_noop,
        "seconds": None if cost.seconds is None else round(cost.seconds, 1),
        "bytes": cost.bytes,
    }


def to_table(plan: RefreshPlan, cost: Cost) -> Table:
    """Give the plan as a table for a terminal."""
    counts = plan.counts
    table = Table(title=_title(plan), title_justify="left")
    for column in ("videos", "", "what is done"):
        table.add_column(column, justify="right" if column == "videos" else "left")
    kept = "copied" if plan.anew is None else "embedded anew"
    by = ", ".join(f"{m.value} {number:,}" for m, number in counts.changed_by.items() if number)
    table.add_row(f"{counts.new:,}", "new", "embedded")
    if counts.brought_back:
        table.add_row(f"{counts.brought_back:,}", "of these deleted by a stream since", BROUGHT_BACK)
    table.add_row(f"{counts.changed:,}", "changed" + (f" ({by})" if by else ""), "embedded anew")
    table.add_row(f"{counts.unchanged:,}", "unchanged", kept if not plan.is_noop else "nothing")
    table.add_row(f"{counts.deleted:,}", "deleted", "left out of the next generation")
    if counts.rejected:
        table.add_row(f"{counts.rejected:,}", "of these rejected by prepare now", "CORPUS/rejected.jsonl tells why")
        table.add_row(f"{counts.gone:,}", "of these gone from the table", "")
    if plan.left_out:
        table.add_row(
            f"{len(plan.left_out):,}", "of these in quarantine", "left out; retry_quarantined=true tries them"
        )
    if plan.new_tower:
        table.add_row("", "query tower: another precision", "exported again")
    table.add_section()
    table.add_row(f"{plan.num_embedded:,}", "to embed", _time(cost))
    if cost.num_done:
        table.add_row(f"{cost.num_done:,}", "of these embedded before", "by a refresh that did not end")
    table.add_row(f"{plan.num_copied:,}", "to copy", f"{_size(cost.bytes)} to write")
    return table


def _title(plan: RefreshPlan) -> str:
    if plan.is_noop:
        return "nothing to do"
    served = "nothing" if plan.served is None else plan.served.generation
    return f"served now: {served}" + (f"; everything is embedded: {plan.anew}" if plan.anew is not None else "")


def _time(cost: Cost) -> str:
    if cost.seconds is None:
        return "time unknown: no refresh before this one measured its rate"
    hours, seconds = divmod(int(np.ceil(cost.seconds)), 3600)
    return f"about {hours} h {seconds // 60:02d} min" if hours else f"about {seconds // 60} min {seconds % 60:02d} s"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
