"""How what is known of a forward index is shown: rich tables, and plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from mmsearch.index.generations import GenerationInfo
    from mmsearch.index.recall.files import AnnFile
    from mmsearch.index.tools.diff import Diff
    from mmsearch.index.tools.inspection import Inspection
    from mmsearch.index.tools.verification import Verification

_PIPE_WIDTH = 200
_MAX_SOURCE = 120


def show(parts: Sequence[RenderableType]) -> None:
    """Print tables; into a pipe without cutting them to a width."""
    from rich.console import Console

    console = Console(markup=False)  # ids and sources are shown as they are
    if not console.is_terminal:
        console = Console(markup=False, width=_PIPE_WIDTH)
    for part in parts:
        console.print(part, highlight=False)


def to_plain(value: Any) -> Any:
    """Give dataclasses and settings as what JSON holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    return value


def inspection_tables(generations: Sequence[GenerationInfo], found: Inspection) -> list[RenderableType]:
    """Lay out the generations of an index, and what one of them holds."""
    table = _table("generation", "base", "*videos", "*size", "written", "")
    for info in generations:
        marks = [word for word, holds in (("served", info.is_current), ("held by readers", info.is_held)) if holds]
        base = info.base.partition("-")[0] if info.base else ""
        table.add_row(info.name, base, f"{info.num_docs:,}", size(info.bytes), info.created_at, ", ".join(marks))
    spaces = _table("space", "model", "*dim", "*codes", "stored as", "*vectors", "*missing", "*size", "*bytes a video")
    for space in found.spaces:
        per_video = f"{space.bytes / max(found.num_rows, 1):,.0f}"
        counts = (f"{space.num_vectors:,}", f"{space.missing_share:.1%}", size(space.bytes), per_video)
        spaces.add_row(space.name, space.fingerprint, str(space.dim), str(space.num_codes), space.dtype, *counts)
    parts: list[RenderableType] = [table, "", *_layers(found), spaces]
    parts += [f"source: {_short(key)} = {_short(value)}" for key, value in found.source.items()]
    return [*parts, "", ann_table(found.ann)] if found.ann else parts


def _layers(found: Inspection) -> list[str]:
    contents = "with content hashes" if found.has_contents else "no content hashes"
    dead = found.num_rows - found.num_docs
    told = [f"{found.generation}: {found.num_docs:,} videos, {contents}, {dead:,} of {found.num_rows:,} rows dead"]
    for layer in found.layers:
        tower = "its own query tower" if layer.has_query_tower else "the query tower of its base"
        changes = f", {layer.num_deleted:,} tombstones, replaces {layer.num_superseded:,}" if layer.is_overlay else ""
        told.append(f"  {layer.generation}: format {layer.format_version}, {layer.num_rows:,} rows{changes}, {tower}")
    return told


def verification_tables(found: Sequence[Verification]) -> list[RenderableType]:
    """Lay out what was read, and what of it is damaged."""
    table = _table("generation", "*files", "*size", "*seconds", "*GB/s", "")
    for done in found:
        rate = f"{done.bytes / done.seconds / 1e9:.2f}" if done.seconds else ""
        state = f"{len(done.damaged)} damaged" if done.damaged else "sound"
        table.add_row(done.generation, str(done.num_files), size(done.bytes), f"{done.seconds:.2f}", rate, state)
    damaged = _table("damaged file", "what", "*vectors that cannot be used")
    for damage in (damage for done in found for damage in done.damaged):
        damaged.add_row(damage.file, damage.problem, "" if damage.num_vectors is None else f"{damage.num_vectors:,}")
    return [table, "", damaged] if damaged.row_count else [table]


def diff_tables(found: Diff) -> list[RenderableType]:
    """Lay out what changed."""
    head = (
        f"{found.before} -> {found.after}: {found.num_docs[0]:,} -> {found.num_docs[1]:,} videos, "
        f"{found.num_added:,} added, {found.num_removed:,} removed"
    )
    parts: list[RenderableType] = [head]
    parts += [
        f"{word}: {_short(', '.join(ids))}" for word, ids in (("added", found.added), ("removed", found.removed)) if ids
    ]
    if found.content is None:
        parts.append("content: not known, for one of them was published without content hashes")
    else:
        changed = ", ".join(f"{name} {num:,}" for name, num in found.content.items() if num and name != "any")
        parts.append(f"content changed: {found.content['any']:,} videos{f' ({changed})' if changed else ''}")
    columns = ("*in both", "*same bytes", "*lost", "*new", "*cos min", "*1 %", "*10 %", "*median")
    table = _table("space", "model", *columns)
    for name, space in found.spaces.items():
        models = f"{_models(space.fingerprints_before)} -> {_models(space.fingerprints_after)}"
        counts = (space.both, space.same_bytes, space.only_before, space.only_after)
        cosines = [f"{space.cosine[key]:.5f}" if space.cosine else "" for key in ("min", "p01", "p10", "p50")]
        table.add_row(name, "same" if space.same_model else models, *(f"{count:,}" for count in counts), *cosines)
    return [*parts, table]


def _models(fingerprints: Sequence[str]) -> str:
    return " and ".join(fingerprints) or "none"


def ann_table(built: Sequence[AnnFile]) -> Table:
    """Lay out faiss indexes with their recall."""
    table = _table("faiss index", "type", "*vectors", "*size", "*built in s", "*recall", "of the best", "*ms a query")
    for ann in built:
        recall = ann.recall
        measured = f"{recall.at}, for {recall.num_queries:,} {recall.measured_with}"
        counts = (f"{ann.num_vectors:,}", size(ann.bytes), f"{ann.seconds:.1f}", f"{recall.value:.4f}")
        table.add_row(ann.space, ann.structure.type, *counts, measured, f"{recall.ms_per_query:.2f}")
    return table


def size(num_bytes: int) -> str:
    """Give a number of bytes as people read it: 1.5 MB."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _table(*columns: str) -> Table:
    """Begin a table; a column whose title starts with `*` holds numbers."""
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.removeprefix("*"), justify="right" if column.startswith("*") else "left", no_wrap=True)
    return table


def _short(value: Any) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= _MAX_SOURCE else f"{text[: _MAX_SOURCE - 1]}…"
