"""A folder of media that is away (moved, not mounted) must not cost a corpus what was prepared from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmsearch.data.manifest import SHARDS, Manifest
from mmsearch.data.prepare_video import Rejection
from mmsearch.data.shards import open_shard, read_doc_ids
from mmsearch.errors import DataError, IntegrityError

#: Reasons that say nothing of a file but that it cannot be had now.
_ABSENT = frozenset({"missing_file", "unreadable_file"})
#: Fewer than these are never taken for a folder that is away.
_FEWEST = 20


def check_losses(folder: Path, rejected: Path, rejections: Sequence[Rejection], max_share: float) -> None:
    """Refuse to publish where many videos of the corpus that is there lose a file that was there before.

    Args:
        folder: of the corpus; nothing of it has been replaced yet.
        rejected: its list of rejections.
        rejections: those of the new corpus.
        max_share: of the videos of the corpus, which may lose something.

    Raises:
        DataError: more of them do, and `_FEWEST` at least.
    """
    absent = {rejection.doc_id: rejection for rejection in rejections if rejection.reason in _ABSENT}
    if max_share >= 1 or len(absent) < _FEWEST:
        return
    try:
        before = Manifest.read(folder)
        total = sum(shard.rows for shard in before.shards)
        if len(absent) <= max_share * total:
            return
        ids = {doc_id for shard in before.shards for doc_id in _ids(folder / SHARDS / shard.name)}
    except (DataError, IntegrityError):  # there is none yet, or none that could be lost
        return
    lost = (absent.keys() & ids) - _absent_before(rejected)
    if len(lost) < _FEWEST or len(lost) <= max_share * total:
        return
    first = next(rejection for doc_id, rejection in absent.items() if doc_id in lost)
    raise DataError(
        f"{len(lost):,} of {total:,} videos would lose a file that was there before ({first.detail}, …); is a folder "
        f"moved, or not mounted? {folder} is left as it was. If it is meant: max_lost_share=1"
    )


def _ids(path: Path) -> list[str]:
    with open_shard(path) as file:
        return read_doc_ids(file, path)


def _absent_before(rejected: Path) -> set[str]:
    try:
        rows = [json.loads(line) for line in rejected.read_bytes().splitlines()]
        return {row["doc_id"] for row in rows if row["reason"] in _ABSENT}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
