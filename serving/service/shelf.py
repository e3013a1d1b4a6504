"""Titles, texts and covers of a prepared corpus, to show beside results."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.values import MAX_ID_CHARS
from mmsearch.errors import MmsearchError
from mmsearch.types import TEXTS, Modality

_MAX_TEXT = 600
_MAX_KEPT = 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a video: the beginnings of its texts, and its cover as JPEG."""

    texts: Mapping[Modality, str]
    cover: bytes | None

    @property
    def title(self) -> str | None:
        """Its title."""
        return self.texts.get(Modality.TITLE)


class Shelf:
    """Looks videos up by their ids; safe for threads.

    Ids are held as 12 bytes each. What was looked up last is kept, some 20 MB. A corpus that was prepared anew, or is
    damaged, costs what is shown, never a result: the log tells, once.

    Raises:
        DataError: there is no corpus in the folder.
        IntegrityError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = _stamp(folder)
        self._corpus = PreparedCorpus.open(folder)
        hashes = [_hash(doc_id) for doc_ids, _ in self._corpus.content_blocks() for doc_id in doc_ids]
        unsorted = np.array(hashes, np.uint64)
        self._rows: npt.NDArray[np.uint32] = np.argsort(unsorted).astype(np.uint32)
        self._hashes = unsorted[self._rows]
        self._kept: OrderedDict[str, Shown] = OrderedDict()
        self._lock = threading.Lock()
        self._told = False

    def is_outdated(self) -> bool:
        """Tell whether the corpus was prepared anew since."""
        return _stamp(self._folder) != self._stamp

    def look_up(self, doc_ids: Sequence[str]) -> list[Shown | None]:
        """Give what is shown of some videos; None where the corpus does not hold one."""
        with self._lock:
            found = [self._one(doc_id) for doc_id in doc_ids]
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
            return found

    def _one(self, doc_id: str) -> Shown | None:
        if doc_id in self._kept:
            self._kept.move_to_end(doc_id)
            return self._kept[doc_id]
        row = self._row_of(doc_id) if len(doc_id) <= MAX_ID_CHARS else None
        shown = None if row is None else self._read(row, doc_id)
        if shown is not None:  # ids that strangers make up would fill the memory
            self._kept[doc_id] = shown
        return shown

    def _row_of(self, doc_id: str) -> int | None:
        digest = np.uint64(_hash(doc_id))
        at = int(np.searchsorted(self._hashes, digest))
        return int(self._rows[at]) if at < len(self._hashes) and self._hashes[at] == digest else None

    def _read(self, row: int, doc_id: str) -> Shown | None:
        groups = self._corpus.row_groups
        number = bisect_right(groups, row, key=lambda group: group.start) - 1
        try:
            video = self._corpus.read_row_group(number)[row - groups[number].start]
        except (MmsearchError, OSError) as error:
            if not self._told:
                _log.error("%s: titles and covers are missing: %s", self._folder, error)
            self._told = True
            return None
        if video.doc_id != doc_id:  # another id of the same hash
            return None
        texts = {modality: video.texts[modality][:_MAX_TEXT] for modality in TEXTS if modality in video.texts}
        return Shown(texts, video.cover)


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        told = (folder / "corpus.json").stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_ino


def _hash(doc_id: str) -> int:
    return xxhash.xxh3_64_intdigest(doc_id.encode("utf-8", "surrogatepass"))
