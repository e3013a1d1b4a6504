"""Comparing a corpus with the generation that is served: new, changed, unchanged, deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError
from mmsearch.index import ForwardIndex
from mmsearch.protocols import Bool
from mmsearch.types import Modality

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """How many videos of a corpus a generation lacks, has otherwise, has as they are; and what it has too many.

    `changed_by` counts a changed video under every modality that differs, one that came or went among them; where no
    content hashes are stored, every video counts as changed, and nobody knows by what. `rejected` counts those of the
    deleted ones that preparation rejects now; the others are gone from the table. `brought_back` counts those of
    the new ones that the served overlay holds as deleted: a stream said so since the base was published. Deletes that
    were merged into a base are not known any more.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejected: int = 0
    brought_back: int = 0
    changed_by: dict[Modality, int] = field(default_factory=lambda: dict.fromkeys(Modality, 0))

    @property
    def gone(self) -> int:
        """Deleted videos that preparation did not reject: the table has them no more."""
        return self.deleted - self.rejected


class Comparison:
    """Compares the videos of a corpus, block by block, with what is served. Memory: a byte a row of the index.

    Args:
        served: the generation; None = nothing is served.
    """

    def __init__(self, served: ForwardIndex | None) -> None:
        self._served = served
        self._seen = np.zeros(0 if served is None else served.num_rows, np.bool_)
        self._dead = _dead_ids(served)
        self.counts = Counts()

    def add(self, doc_ids: list[str], contents: UInt64) -> tuple[Int64, Bool]:
        """Compare some videos.

        Returns:
            The row of each in the index, -1 = it is not there, [B]; and of each modality whether the index has vectors
            of the very same content (or absence), [B, 8]. An index without content hashes has the same of none.
        """
        num, served = len(doc_ids), self._served
        if served is None:
            self.counts.new += num
            return np.full(num, -1, np.int64), np.zeros(contents.shape, np.bool_)
        rows = served.rows(doc_ids)
        found = rows >= 0
        self._seen[rows[found]] = True
        same = found[:, None] & (served.contents(rows) == contents) & served.has_contents
        unchanged = same.all(axis=1)
        changed = found & ~unchanged
        counts = self.counts
        counts.new += num - int(found.sum())
        if self._dead:
            counts.brought_back += sum(doc_ids[at] in self._dead for at in np.flatnonzero(~found).tolist())
        counts.unchanged += int(unchanged.sum())
        counts.changed += int(changed.sum())
        for at, modality in enumerate(Modality if served.has_contents else ()):
            counts.changed_by[modality] += int((changed & ~same[:, at]).sum())
        return rows, same

    def close(self, rejected: Iterable[Sequence[str]] = ()) -> Counts:
        """Give the counts, after the last block.

        Args:
            rejected: ids that preparation rejects, in blocks; drawn only where something is deleted.
        """
        if self._served is None:
            return self.counts
        deleted = self._served.live() & ~self._seen
        self.counts.deleted = int(deleted.sum())
        for doc_ids in rejected if self.counts.deleted else ():
            rows = self._served.rows(doc_ids)
            rows = np.unique(rows[rows >= 0])
            self.counts.rejected += int(deleted[rows].sum())
            deleted[rows] = False  # a video may be listed again, for another modality
        return self.counts


def _dead_ids(served: ForwardIndex | None) -> set[str]:
    """Give the ids that an overlay replaced or deleted; those of them that cannot be found were deleted."""
    if served is None or served.base is None:
        return set()
    ids = served.doc_ids
    try:
        return {ids[row] for row in np.flatnonzero(~served.live()).tolist()}
    except CorruptIndexError as error:  # a refresh is what mends it
        log.warning("deletes of the served overlay cannot be counted: %s", error)
        return set()
