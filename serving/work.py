"""Vectors of finished shards, kept until the generation is published, so that a killed refresh goes on where it was."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError
from mmsearch.files import replacing
from mmsearch.index.lock import WriteLock
from mmsearch.protocols import Embedded
from mmsearch.types import Space

log = logging.getLogger(__name__)


def work_of(index_dir: Path) -> Path:
    """Give the folder of unfinished work of an index."""
    return index_dir / ".work"


class ShardStore:
    """One `.npz` file a shard, named by the key of its content; it appears whole or not at all.

    Args:
        folder: where the files lie.
        spaces: the spaces that every shard must hold.
        dtype: how vectors are kept; the same as in the index, so that a kept vector is the published one bit by bit.
    """

    def __init__(self, folder: Path, spaces: Sequence[Space], dtype: str) -> None:
        self._folder, self._spaces, self._dtype = folder, tuple(spaces), dtype

    def save(self, key: str, doc_ids: Sequence[str], embedded: Mapping[str, Embedded]) -> None:
        """Keep the vectors of a shard, durably.

        Raises:
            DataError: the disk refuses.
        """
        arrays: dict[str, npt.NDArray[Any]] = {"doc_ids": np.frombuffer(json.dumps(list(doc_ids)).encode(), np.uint8)}
        for at, space in enumerate(self._spaces):
            arrays[f"vectors{at}"] = embedded[space.name].vectors.astype(self._dtype)
            arrays[f"present{at}"] = embedded[space.name].present
        try:
            with replacing(self._path(key)) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            raise DataError(
                f"{self._folder}: vectors cannot be kept: {error.strerror or error}; make room and refresh again: "
                "what is done will not be done again"
            ) from error

    def load(self, key: str, doc_ids: Sequence[str]) -> dict[str, Embedded] | None:
        """Give the kept vectors of a shard; None when there are none, or when they are damaged or of other documents.

        The zip container holds a CRC-32 of each array, which is checked here.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if json.loads(arrays["doc_ids"].tobytes()) != list(doc_ids):
                    return None
                return {
                    space.name: Embedded(arrays[f"vectors{at}"].astype(np.float32), arrays[f"present{at}"])
                    for at, space in enumerate(self._spaces)
                }
        except FileNotFoundError:
            return None
        except (
            Exception
        ) as error:  # numpy and zipfile raise a dozen kinds for a damaged file; the shard is embedded anew
            log.warning("%s: is damaged and will be made again: %s", path, error)
            return None

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"


def clear(index_dir: Path) -> None:
    """Remove what a refresh kept, unless another one is at work."""
    work = work_of(index_dir)
    if not work.exists():
        return
    try:
        lock = WriteLock(index_dir)
    except DataError:
        return
    try:
        shutil.rmtree(work)
    finally:
        lock.release()
