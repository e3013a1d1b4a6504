"""Outputs of the picture towers, kept between refreshes, so that a changed title does not run them again.

`INDEX/.towers` is an LMDB environment that only the driver of a refresh opens. Key: fingerprint of the tower (8 bytes),
content hash of the modality (8), hash of the document id (8). Value: xxh3-64 of the rest, number of rows, number of
columns, and float32 numbers. What is damaged, lacking or of other weights is computed again: nothing here is needed.

A file that LMDB finds damaged is thrown away. Where it refuses for another reason (a full disk, say) its transaction
leaves the file as it was: that stays, and what could not be kept is computed again.
"""

from __future__ import annotations

import logging
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xxhash

from mmsearch.extras import require
from mmsearch.protocols import Float32
from mmsearch.types import Modality
from serving.items import PlannedItem, UInt64
from serving.work import Outputs

log = logging.getLogger(__name__)

_MAP_SIZE = 1 << 42  # addresses, not bytes of the disk: the file grows with what is in it
_SHAPE = struct.Struct("<II")
_DIGEST = 8
_KEY = 24


def towers_dir(index_dir: Path) -> Path:
    """Give the folder in which an index keeps outputs of towers; it may be removed at any time."""
    return index_dir / ".towers"


class KeptOutputs:
    """Outputs of towers by content. Use as a context manager, in one process at a time.

    Args:
        folder: where they lie; made when it does not exist.
        fingerprints: of the towers, by modality.

    Raises:
        MissingExtraError: lmdb is not installed.
    """

    def __init__(self, folder: Path, fingerprints: Mapping[Modality, str]) -> None:
        self._marks = {m: xxhash.xxh3_64_digest(mark.encode()) for m, mark in fingerprints.items()}
        self._folder, self._lmdb, self._refused = folder, require("lmdb", extra="refresh"), False
        self._environment: Any = None
        with self._forgiving():
            self._environment = _open(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._environment is not None:
            self._environment.close()

    def find(self, item: PlannedItem) -> Outputs:
        """Give what is known of an item's videos that did not change: by modality and place in the item."""
        found: dict[Modality, dict[int, Float32]] = {}
        with self._forgiving(), self._begin(buffers=True) as transaction:
            for modality, places in item.reusable.items():
                keys = self._keys(item, modality, places)
                values = {n: _unpacked(transaction.get(key)) for n, key in zip(places.tolist(), keys, strict=True)}
                found[modality] = {place: value for place, value in values.items() if value is not None}
        return _of_one_shape(found)

    def put(self, item: PlannedItem, outputs: Outputs) -> None:
        """Keep outputs, by modality and place in the item, durably."""
        with self._forgiving(), self._begin(write=True) as transaction:
            for modality, kept in outputs.items():
                places = np.array(sorted(kept), np.int64)
                for place, key in zip(places.tolist(), self._keys(item, modality, places), strict=True):
                    transaction.put(key, _packed(kept[place]))

    def prune(self, contents: Mapping[Modality, UInt64]) -> int:
        """Remove outputs of other weights, and of content that no video has any more; give how many.

        Args:
            contents: the content hash of every video, by modality, [N].
        """
        alive = {self._marks[modality]: np.unique(hashes) for modality, hashes in contents.items()}
        removed = 0
        with self._forgiving(), self._begin(write=True) as transaction, transaction.cursor() as cursor:
            for keys in _blocks(cursor):
                table = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 3)
                dead = np.ones(len(keys), np.bool_)
                for mark, hashes in alive.items():
                    own = table[:, 0] == np.frombuffer(mark, "<u8")[0]
                    dead &= ~(own & np.isin(table[:, 1], hashes))
                for place in np.flatnonzero(dead).tolist():
                    removed += transaction.delete(keys[place])
        return removed

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Begin anew when LMDB finds its file damaged; do without when it refuses: what can be made ends no refresh."""
        try:
            yield
        except (self._lmdb.Error, OSError) as error:
            if isinstance(error, _damage(self._lmdb)):
                self._begin_anew(error)
            elif not self._refused:
                self._refused = True
                log.warning("%s: outputs of towers are not kept, and what is there stays: %s", self._folder, error)

    def _begin(self, **options: bool) -> Any:
        if self._environment is None:
            raise self._lmdb.Error("it could not be opened")
        return self._environment.begin(**options)

    def _begin_anew(self, error: Exception) -> None:
        log.warning("%s: is thrown away, and pictures are encoded again: %s", self._folder, error)
        if self._environment is not None:
            self._environment.close()
        self._environment = None
        with self._forgiving():
            shutil.rmtree(self._folder)
            self._environment = _open(self._folder)

    def _keys(self, item: PlannedItem, modality: Modality, places: npt.NDArray[np.int64]) -> list[bytes]:
        contents = item.videos.contents[places, list(Modality).index(modality)]
        both = np.stack([contents, item.videos.id_hashes[places]], axis=1).astype("<u8").tobytes()
        return [self._marks[modality] + both[at : at + 16] for at in range(0, len(both), 16)]


def _damage(lmdb: Any) -> tuple[type[Exception], ...]:
    """Give the errors that tell of a damaged file; the others tell of the disk, or of this process."""
    return (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError)


def _open(folder: Path) -> Any:
    """Open the environment; one that is damaged is thrown away.

    Raises:
        lmdb.Error: LMDB refuses.
        OSError: the disk refuses.
    """
    lmdb = require("lmdb", extra="refresh")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        environment = lmdb.open(str(folder), map_size=_MAP_SIZE, max_readers=8)
        if _is_whole(environment, folder):
            return environment
        environment.close()
        problem = "it was cut"
    except _damage(lmdb) as error:
        problem = str(error)
    log.warning("%s: cannot be used (%s); pictures are encoded again", folder, problem)
    shutil.rmtree(folder)
    folder.mkdir()
    return lmdb.open(str(folder), map_size=_MAP_SIZE, max_readers=8)


def _is_whole(environment: Any, folder: Path) -> bool:
    """Tell whether the file reaches as far as its pages: reading behind its end would kill the process."""
    pages = environment.info()["last_pgno"] + 1
    return bool((folder / "data.mdb").stat().st_size >= pages * environment.stat()["psize"])


def _blocks(cursor: Any, size: int = 65536) -> Iterator[list[bytes]]:
    keys: list[bytes] = []
    found = cursor.first()
    while found:
        keys.append(bytes(cursor.key()))
        if len(keys) == size:
            yield keys
            found = cursor.set_range(keys[-1]) and (cursor.key() != keys[-1] or cursor.next())
            keys = []
        else:
            found = cursor.next()
    yield keys


def _packed(outputs: Float32) -> bytes:
    body = _SHAPE.pack(*outputs.shape) + np.ascontiguousarray(outputs, "<f4").tobytes()
    return xxhash.xxh3_64_digest(body) + body


def _unpacked(value: Any) -> Float32 | None:
    """Give the outputs of a value; None when there is none, or when it is damaged."""
    if value is None:
        return None
    body = bytes(value[_DIGEST:])
    if xxhash.xxh3_64_digest(body) != bytes(value[:_DIGEST]):
        return None
    return np.frombuffer(body, "<f4", offset=_SHAPE.size).reshape(_SHAPE.unpack_from(body))


def _of_one_shape(found: dict[Modality, dict[int, Float32]]) -> Outputs:
    """Leave out what is of another shape than the first: it is of an accident, and the tower will tell."""
    return {
        modality: {place: value for place, value in kept.items() if value.shape == next(iter(kept.values())).shape}
        for modality, kept in found.items()
        if kept
    }
