"""Write what a follower knows as the next generation: an overlay on the base, or a base that holds both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import DataError
from mmsearch.index import GenerationWriter
from mmsearch.index.layout import read_current
from mmsearch.protocols import Embedded
from serving.follow.events import Row
from serving.follow.served import STREAMS, Served

_CHUNK = 8192
#: What a refresh says of its generation that is true of those that come of it, too.
_LASTING = ("prepared", "videos_per_s")


class MovedError(DataError):
    """Another generation is served than the one that was to be changed."""


def publish_overlay(
    index_dir: Path, served: Served, changes: Mapping[str, Row | None], streams: Mapping[str, Any]
) -> str:
    """Publish the overlay that is served, with some changes, as the next overlay on the same base; give its name.

    Rows that did not change are copied bit for bit, tombstones stay.

    Args:
        index_dir: the index.
        served: what is served now.
        changes: new rows by id; None = the document is deleted.
        streams: how far each stream is in the new generation.

    Raises:
        BusyIndexError: another process is publishing.
        MovedError: another generation is served by now.
        CorruptIndexError: what is to be copied is damaged.
        DataError: the disk refuses.
    """
    with GenerationWriter(index_dir, served.base.spaces, base=served.base.generation) as writer:
        _check_current(index_dir, served)
        _copy(writer, served, served.base.num_rows, changes)
        _add(writer, served, {doc_id: row for doc_id, row in changes.items() if row is not None})
        writer.delete([doc_id for doc_id in served.deleted() if doc_id not in changes])
        writer.delete([doc_id for doc_id, row in changes.items() if row is None])
        return writer.publish(query_tower=None, source=_source(served, streams))


def publish_compacted(index_dir: Path, served: Served) -> str:
    """Publish base and overlay as one new base, bit for bit; give its name. Arguments and errors as above."""
    dtype = next(iter(served.base.dtypes.values()))  # a writer has one for all spaces
    with GenerationWriter(index_dir, served.base.spaces, dtype=dtype) as writer:
        _check_current(index_dir, served)
        _copy(writer, served, 0, {})
        return writer.publish(query_tower=served.base.query_tower, source=_source(served, served.streams))


def _check_current(index_dir: Path, served: Served) -> None:
    """Look with the lock held: from now on nobody else changes it."""
    current = read_current(index_dir)
    if current != served.generation:
        raise MovedError(f"{index_dir}: {current} is served, and no more {served.generation}")


def _copy(writer: GenerationWriter, served: Served, start: int, without: Mapping[str, object]) -> None:
    """Copy the live rows from a row on, but those of some documents."""
    index = served.index
    kept = index.live()
    kept[:start] = False
    replaced = index.rows(list(without))
    kept[replaced[replaced >= 0]] = False
    for first in range(start, index.num_rows, _CHUNK):
        rows = first + np.flatnonzero(kept[first : first + _CHUNK])
        if not rows.size:
            continue
        stored = {space.name: index.raw(space.name, rows) for space in served.base.spaces}
        contents = index.contents(rows) if served.base.has_contents else None
        doc_ids = index.doc_ids[first : first + _CHUNK]
        writer.add([doc_ids[row - first] for row in rows.tolist()], stored, contents)


def _add(writer: GenerationWriter, served: Served, rows: Mapping[str, Row]) -> None:
    if not rows:
        return
    each = list(rows.values())
    embedded = {space.name: _joined([row.embedded[space.name] for row in each]) for space in served.base.spaces}
    contents = np.concatenate([row.contents for row in each]) if served.base.has_contents else None
    writer.add(list(rows), embedded, contents)


def _joined(parts: Sequence[Embedded]) -> Embedded:
    return Embedded(np.concatenate([p.vectors for p in parts]), np.concatenate([p.present for p in parts]))


def _source(served: Served, streams: Mapping[str, Any]) -> dict[str, Any]:
    """Say where the vectors come from: no more from one corpus alone, so its hash and counts are not among it."""
    return {key: served.base.source[key] for key in _LASTING if key in served.base.source} | {STREAMS: dict(streams)}
