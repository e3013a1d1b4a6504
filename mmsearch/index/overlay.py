"""What an overlay changes in its base, as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index.arrays import ArrayWriter
from mmsearch.index.layer import Layer
from mmsearch.index.layout import DELETED, SUPERSEDED, generations_of, split_name
from mmsearch.index.manifest import Dtype, StoredFile, StoredSpace
from mmsearch.types import Space


def open_base(index_dir: Path, name: str) -> Layer:
    """Open the generation that an overlay will lie on.

    Raises:
        DataError: there is no such generation, or it is an overlay itself.
        CorruptIndexError: it is damaged.
    """
    folder = generations_of(index_dir) / name
    if split_name(name) is None or not folder.is_dir():
        raise DataError(f"{index_dir}: there is no generation {name!r} for an overlay to lie on")
    base = Layer(folder, name, lazy=True)
    if base.manifest.base is not None:
        raise DataError(f"{index_dir}: {name} is an overlay on {base.manifest.base}; lay all that changed on that one")
    return base


def check_dtype(base: Layer, spaces: Sequence[Space], dtype: Dtype) -> None:
    """Refuse an overlay of the same model that is stored in another way: its rows could not be joined bit by bit.

    Raises:
        DataError: it is.
    """
    stored = {space.dtype for space in base.manifest.spaces}
    if base.spaces == tuple(spaces) and stored != {dtype}:
        raise DataError(f"{base.folder}: is stored as {', '.join(sorted(stored))}; an overlay on it cannot be {dtype}")


def check_keeps_tower(base: Layer, spaces: Sequence[StoredSpace]) -> None:
    """Refuse an overlay without a query tower of its own whose vectors the tower of its base cannot score.

    Raises:
        FingerprintError: the spaces are not those of the base.
    """
    own = tuple(space.space for space in spaces)
    if own != base.spaces:
        raise FingerprintError(
            f"the overlay has the spaces {_told(own)}, and its base {base.name} has {_told(base.spaces)}; "
            "give the query tower that belongs to the vectors"
        )


def _told(spaces: Sequence[Space]) -> str:
    return ", ".join(f"{space.name} ({space.fingerprint}, {space.num_codes} × {space.dim})" for space in spaces)


class OverlayWriter:
    """Tombstones, and the rows of the base that are replaced. Memory: 8 bytes a document that the base has.

    Args:
        folder: of the overlay.
        base: what it lies on.
    """

    def __init__(self, folder: Path, base: Layer) -> None:
        self.base = base
        self._superseded_path = folder / SUPERSEDED
        self._deleted = ArrayWriter(folder / DELETED, "bool")
        self._superseded: list[npt.NDArray[np.int64]] = []
        self.num_deleted = 0

    @property
    def num_superseded(self) -> int:
        """Number of the base's rows that are replaced so far."""
        return sum(map(len, self._superseded))

    def add(self, doc_ids: Sequence[str], *, deleted: bool) -> None:
        """Add documents, or tombstones."""
        self._deleted.append(np.full(len(doc_ids), deleted))
        self.num_deleted += len(doc_ids) if deleted else 0
        rows = self.base.ids.rows(doc_ids)
        self._superseded.append(rows[rows >= 0])

    def abandon(self) -> None:
        """Let go of the file."""
        self._deleted.abandon()

    def close(self) -> dict[str, StoredFile]:
        """Bring all to the disk and give size and checksum of each file."""
        stored = {DELETED: self._deleted.close()}
        if self.num_superseded:
            writer = ArrayWriter(self._superseded_path, "int64")
            writer.append(np.sort(np.concatenate(self._superseded)))
            stored[SUPERSEDED] = writer.close()
        return stored
