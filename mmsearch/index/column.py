"""The vectors of one space of one generation, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index.arrays import open_array, read_through
from mmsearch.index.blocks import BlockChecks, rows_per_block
from mmsearch.index.codes import MAX_COSINE
from mmsearch.index.kernels import QueryKernel
from mmsearch.index.layout import blocks_file, present_file, scales_file, vectors_file
from mmsearch.index.manifest import StoredSpace
from mmsearch.index.stored import Stored, dequantize, to_float32
from mmsearch.protocols import Bool, Float32

Int64 = npt.NDArray[np.int64]

#: Components of a batch of `blocks`: 16 MiB of them as float32.
_BATCH_COMPONENTS = 1 << 22
#: Codes gathered before they are multiplied: they are still in the second cache then.
_GATHERED_BYTES = 1 << 19


class Column:
    """Rows count from 0 in each generation.

    Args:
        folder: of the generation.
        space: how it is stored.
        num_rows: of the generation.
        lazy: compare each block with its checksum before a row of it is first used; nothing is compared where format 1
            or 2 stored no such checksums.
    """

    def __init__(self, folder: Path, space: StoredSpace, num_rows: int, *, lazy: bool) -> None:
        self.space = space
        self._dim, self._num_codes = space.dim, space.num_codes
        self._rows_gathered = max(1, _GATHERED_BYTES // space.row_bytes)
        self._path = folder / vectors_file(space.name)
        self._vectors: npt.NDArray[Any] = open_array(self._path, space.dtype, (num_rows, space.space.row_dim))
        self.present: Bool = open_array(folder / present_file(space.name), "bool", (num_rows,))
        self._scales: Float32 | None = None
        if space.dtype == "int8":
            self._scales = open_array(folder / scales_file(space.name), "float32", (num_rows, space.num_codes))
        self._checks = self._open_checks(folder / blocks_file(space.name)) if lazy else None

    def _open_checks(self, path: Path) -> BlockChecks | None:
        if not path.exists():  # formats 1 and 2: sizes are compared with the manifest's, so it is not one gone astray
            return None
        height = rows_per_block(self.space.row_bytes)
        expected = open_array(path, "uint64", (-(-len(self._vectors) // height),))
        return BlockChecks(str(self._path), expected, self._arrays(), height)

    def _arrays(self) -> list[npt.NDArray[Any]]:
        return [array for array in (self._vectors, self._scales, self.present) if array is not None]

    def sound(self, rows: Int64) -> Bool:
        """Tell which rows lie in blocks that are what was written, [N]."""
        return np.ones(len(rows), bool) if self._checks is None else self._checks.sound(rows)

    def floats(self, rows: Int64) -> tuple[Float32, Bool]:
        """Give vectors, [N, M*D], and which are present and sound, [N]; -1 is not, and others are zeros then."""
        there = self._there(rows)
        vectors = self._vectors.take(rows, axis=0, mode="clip")
        if self._scales is not None:
            floats = dequantize(vectors, self._scales.take(rows, axis=0, mode="clip"))
        else:
            floats = to_float32(vectors)
        if not there.all():
            floats[~there] = 0
        return floats, there

    def dots(self, rows: Int64, query: Float32) -> tuple[Float32, Bool]:
        """Give the dots of a query with every code, [N, M], and which are present, sound and cosines, [N].

        Raises:
            DataError: the query does not fit the space.
        """
        if query.shape != (self._dim,):
            told = f"a query vector of shape {list(query.shape)} does not fit its {self._dim} components"
            raise DataError(f"space '{self.space.name}': {told}")
        there = self._there(rows)
        kernel = QueryKernel(query, self.space.dtype)
        with np.errstate(all="ignore"):  # damaged rows hold anything
            dots = self._gathered(rows, kernel).reshape(len(rows), self._num_codes)
            if self._scales is not None:
                dots *= self._scales.take(rows, axis=0, mode="clip")
            # NaN compares false
            if dots.size and not (float(dots.max()) <= MAX_COSINE and float(dots.min()) >= -MAX_COSINE):
                there &= (np.abs(dots) <= MAX_COSINE).all(axis=1)
        if not there.all():
            dots[~there] = 0
        return dots, there

    def _gathered(self, rows: Int64, kernel: QueryKernel) -> Float32:
        height = self._rows_gathered
        parts = [
            kernel.dots(self._vectors.take(rows[start : start + height], axis=0, mode="clip").reshape(-1, self._dim))
            for start in range(0, max(len(rows), 1), height)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _there(self, rows: Int64) -> Bool:
        # 'clip' reads row 0 for -1, and is twice as quick as numpy's own check of the bounds
        there: Bool = self.present.take(rows, mode="clip")
        there &= rows >= 0
        if self._checks is not None and not self._checks.all_sound:
            asked = np.flatnonzero(there)
            there[asked] = self._checks.sound(rows[asked])
        return there

    def raw(self, rows: Int64) -> Stored:
        """Give rows as they lie on the disk.

        Raises:
            CorruptIndexError: some of them are damaged.
        """
        damaged = int(np.count_nonzero(~self.sound(rows)))
        if damaged:
            raise CorruptIndexError(
                f"{self._path}: {damaged} of {len(rows)} rows to be copied are damaged; compute them again"
            )
        scales = None if self._scales is None else self._scales.take(rows, axis=0)
        return Stored(self._vectors.take(rows, axis=0), scales, self.present.take(rows))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[Int64, Float32]]:
        """Give the rows that are present and sound, and their vectors, some thousand at a time."""
        height = max(1, _BATCH_COMPONENTS // self.space.space.row_dim)
        for first in range(start, stop, height):
            rows = first + np.flatnonzero(self.present[first : min(first + height, stop)])
            vectors, there = self.floats(rows)
            yield (rows, vectors) if there.all() else (rows[there], vectors[there])

    def warm(self) -> None:
        """Read all of it once, in order; compares all blocks that were not compared yet."""
        if self._checks is not None:
            self._checks.check_all()
        else:
            read_through(*self._arrays())
