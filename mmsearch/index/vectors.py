"""The vectors of one space, as they are checked and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsearch.errors import DataError
from mmsearch.index.arrays import ArrayWriter
from mmsearch.index.blocks import BlockHasher, rows_per_block
from mmsearch.index.layout import blocks_file, present_file, scales_file, vectors_file
from mmsearch.index.manifest import StoredFile, StoredSpace
from mmsearch.index.stored import Stored, to_stored
from mmsearch.protocols import Embedded, Float32

#: How far from 1 the length of an L2-normalised vector may be: fp16 and bf16 towers are a few thousandths off.
NORM_TOLERANCE = 0.02
#: The same for vectors that were stored before: rounding to 8 bits moves a component by half a scale.
STORED_TOLERANCE = 0.05


class VectorWriter:
    """Write the vectors of one space in a stream."""

    def __init__(self, folder: Path, space: StoredSpace) -> None:
        self._folder, self._space = folder, space
        self._columns = [ArrayWriter(folder / vectors_file(space.name), space.dtype, (space.space.row_dim,))]
        if space.dtype == "int8":
            self._columns.append(ArrayWriter(folder / scales_file(space.name), "float32", (space.num_codes,)))
        self._columns.append(ArrayWriter(folder / present_file(space.name), "bool"))
        self._hasher = BlockHasher(rows_per_block(space.row_bytes))

    def add(self, given: Embedded | Stored) -> None:
        """Add vectors that `check` let through; those that are not present are stored as zeros."""
        rows = given if isinstance(given, Stored) else to_stored(given, self._space.num_codes, self._space.dtype)
        arrays = [array for array in (rows.vectors, rows.scales, rows.present) if array is not None]
        for column, array in zip(self._columns, arrays, strict=True):
            column.append(array)
        self._hasher.add(arrays)

    def skip(self, num: int) -> None:
        """Add rows of documents that are not present."""
        self.add(Embedded(np.zeros((num, self._space.space.row_dim), np.float32), np.zeros(num, bool)))

    def abandon(self) -> None:
        """Let go of the files."""
        for column in self._columns:
            column.abandon()

    def close(self) -> dict[str, StoredFile]:
        """Bring all to the disk and give size and checksum of each file."""
        blocks = ArrayWriter(self._folder / blocks_file(self._space.name), "uint64")
        blocks.append(self._hasher.close())
        return {column.path.name: column.close() for column in (*self._columns, blocks)}


def check(space: StoredSpace, doc_ids: Sequence[str], given: Embedded | Stored) -> None:
    """Refuse vectors that cannot be scored.

    Raises:
        DataError: the shapes do not fit the space or the ids, rows to be copied are stored in another way, or a code
            of a present document is not finite or not of length 1; the message names the space and the first such one.
    """
    present = np.asarray(given.present)
    if np.asarray(given.vectors).shape != (len(doc_ids), space.space.row_dim):
        raise DataError(
            f"space '{space.name}': vectors of shape {list(np.asarray(given.vectors).shape)} for {len(doc_ids)} "
            f"documents of {space.num_codes} × dimension {space.dim}"
        )
    if present.shape != (len(doc_ids),) or present.dtype != np.bool_:
        raise DataError(
            f"space '{space.name}': 'present' is {present.dtype} {list(present.shape)}, not bool [documents]"
        )
    if isinstance(given, Stored):
        _check_layout(space, len(doc_ids), given)
        _check_lengths(space, doc_ids, Embedded(given.to_float32(), present), STORED_TOLERANCE)
    else:
        _check_lengths(space, doc_ids, given, NORM_TOLERANCE)


def _check_layout(space: StoredSpace, num: int, given: Stored) -> None:
    scales = None if given.scales is None else (given.scales.dtype.name, given.scales.shape)
    wanted = ("float32", (num, space.num_codes)) if space.dtype == "int8" else None
    if given.vectors.dtype.name != space.dtype or scales != wanted:
        raise DataError(
            f"space '{space.name}': rows to be copied are {given.vectors.dtype.name} with scales {scales}, and this "
            f"index stores {space.dtype} with scales {wanted}; give them as `to_embedded` does"
        )


def _check_lengths(space: StoredSpace, doc_ids: Sequence[str], embedded: Embedded, tolerance: float) -> None:
    present = embedded.present
    codes: Float32 = np.asarray(embedded.vectors).reshape(len(doc_ids), space.num_codes, space.dim)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(codes.astype(np.float64), axis=2)
        bad = present[:, None] & ~(np.abs(norms - 1) <= tolerance)
    if bad.any():
        row, code = (int(at) for at in np.argwhere(bad)[0])
        finite, length = bool(np.isfinite(codes[row, code]).all()), norms[row, code]
        what = f"has length {length:.6g} instead of 1" if finite else "has a component that is NaN or infinite"
        which = "the vector" if space.num_codes == 1 else f"code {code} (of {space.num_codes})"
        raise DataError(
            f"space '{space.name}': {which} of document {doc_ids[row]!r} {what} "
            f"({int(bad.any(1).sum())} of {len(doc_ids)} in this batch); mend the document tower"
        )
