"""Rows that earlier runs prepared, found by their keys: of a shard that is made anew only what is new is decoded."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from itertools import accumulate
from pathlib import Path

import numpy as np

from mmsearch.data.manifest import SHARDS
from mmsearch.data.prepare_plan import ShardPlan, ShardResult, read_result
from mmsearch.data.prepare_video import Preparation, Rejection
from mmsearch.data.shards import open_shard, read_doc_ids, read_row_group
from mmsearch.errors import IntegrityError
from mmsearch.files import hash_file
from mmsearch.protocols import PreparedVideo

#: Shards that are held open, with the ids of their rows.
_MOST_OPEN = 64
#: Row groups that are held; rows that follow each other mostly come from one or two.
_MOST_HELD = 4

_log = logging.getLogger(__name__)


class EarlierRows:
    """What lies in the shards of a corpus folder, by row key; some 12 bytes a row.

    A row is what it was when the cells of the table, the size and time of change of its files and the settings are;
    then its texts and pictures are copied as they stand, and so are the rejections. It does not matter which shard it
    was in: rows that come, go or move cost nothing but themselves.

    Args:
        folder: of the corpus; its shards are looked up once, when the first row is asked for.
        retry_failed: leave out rows that a worker did not get through (`prepare_plan.FAILURES`).
    """

    def __init__(self, folder: Path, *, retry_failed: bool) -> None:
        self._folder, self._retry_failed = folder / SHARDS, retry_failed
        self._records: list[Path] | None = None
        self._keys = np.zeros(0, np.uint64)
        self._record_of = np.zeros(0, np.int32)
        self._open: OrderedDict[int, _OpenShard | None] = OrderedDict()
        self._held: OrderedDict[tuple[int, int], list[PreparedVideo]] = OrderedDict()
        self._whole: set[int] = set()  # their checksums held in this run

    def find(self, plan: ShardPlan) -> list[int | None]:
        """Give for each row of a plan the number of a record that holds it, None = it must be prepared."""
        if self._records is None:
            self._records = self._look_up()
        wanted = np.array([int(key, 16) for key in plan.row_keys], np.uint64)
        at = np.searchsorted(self._keys, wanted)
        places: list[int | None] = [None] * len(wanted)
        for row, place in enumerate(at):
            if place < len(self._keys) and self._keys[place] == wanted[row]:
                number = int(self._record_of[place])
                shard = self._shard(number)
                if shard is not None and shard.holds(plan.rows[row].doc_id, retry_failed=self._retry_failed):
                    places[row] = number
        return places

    def read(self, number: int, doc_id: str) -> Preparation:
        """Give a row that `find` found.

        Raises:
            IntegrityError: the shard was damaged since.
        """
        shard = self._shard(number)
        if shard is None:
            raise IntegrityError(
                f"{self._folder}: a shard was removed or damaged meanwhile; run `mmsearch prepare` again"
            )
        found = shard.place_of(doc_id)
        return Preparation(None if found is None else self._video(number, shard, *found), shard.rejections_of(doc_id))

    def close(self) -> None:
        """Close the shards that are open."""
        self._held.clear()
        while self._open:
            self._drop()

    def _look_up(self) -> list[Path]:
        records: list[Path] = []
        keys, owners = [], []
        for path in sorted(self._folder.glob("*.json")):
            result = read_result(path)
            if result is not None and result.row_keys:
                keys.append(np.array([int(key, 16) for key in result.row_keys], np.uint64))
                owners.append(np.full(len(result.row_keys), len(records), np.int32))
                records.append(path)
        if records:
            every = np.concatenate(keys)
            order = np.argsort(every, kind="stable")
            self._keys, self._record_of = every[order], np.concatenate(owners)[order]
        return records

    def _shard(self, number: int) -> _OpenShard | None:
        if number not in self._open:
            assert self._records is not None  # noqa: S101 (for the type checker)
            self._open[number] = shard = _OpenShard.of(self._records[number], check=number not in self._whole)
            if shard is not None:
                self._whole.add(number)
        self._open.move_to_end(number)
        if len(self._open) > _MOST_OPEN:
            self._drop()
        return self._open[number]

    def _video(self, number: int, shard: _OpenShard, group: int, row: int) -> PreparedVideo:
        if (number, group) not in self._held:
            self._held[number, group] = shard.read(group)
        self._held.move_to_end((number, group))
        if len(self._held) > _MOST_HELD:
            self._held.popitem(last=False)
        return self._held[number, group][row]

    def _drop(self) -> None:
        _, shard = self._open.popitem(last=False)
        if shard is not None:
            shard.close()


class _OpenShard:
    """A record of an earlier run with its file."""

    def __init__(self, result: ShardResult, path: Path | None) -> None:
        self._path, self._file = path, None
        ids, sizes = list[str](), list[int]()
        if path is not None:
            self._file = file = open_shard(path)
            ids = read_doc_ids(file, path)
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        self._row_of = {doc_id: row for row, doc_id in enumerate(ids)}
        self._starts = [0, *accumulate(sizes)]
        self._rejections: defaultdict[str, list[Rejection]] = defaultdict(list)
        for rejection in result.rejections:
            self._rejections[rejection.doc_id].append(rejection)

    @classmethod
    def of(cls, record: Path, *, check: bool) -> _OpenShard | None:
        """Open what a record names, its checksum compared; None = it is not whole, and its rows are prepared again."""
        result = read_result(record)
        if result is None or result.shard is None:
            return None if result is None else cls(result, None)
        path = record.parent / result.shard.name
        try:
            if not check or hash_file(path) == result.shard.checksum:
                return cls(result, path)
            problem = "its checksum does not hold"
        except (OSError, IntegrityError) as error:
            problem = str(error)
        _log.warning("%s: %s; its rows are prepared again", path, problem)
        return None

    def holds(self, doc_id: str, *, retry_failed: bool) -> bool:
        """Tell whether the video was prepared or rejected here, and need not be tried again."""
        rejections = self._rejections.get(doc_id, ())
        if retry_failed and any(rejection.is_failure for rejection in rejections):
            return False
        return doc_id in self._row_of or bool(rejections)

    def place_of(self, doc_id: str) -> tuple[int, int] | None:
        """Give the row group of a video and its row there; None = it was rejected."""
        row = self._row_of.get(doc_id)
        if row is None:
            return None
        group = bisect_right(self._starts, row) - 1
        return group, row - self._starts[group]

    def rejections_of(self, doc_id: str) -> tuple[Rejection, ...]:
        """Give what was rejected of a video."""
        return tuple(self._rejections.get(doc_id, ()))

    def read(self, group: int) -> list[PreparedVideo]:
        """Give the videos of a row group."""
        assert self._path is not None  # noqa: S101 (a shard that has rows has a file)
        return read_row_group(self._file, group, self._path)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
