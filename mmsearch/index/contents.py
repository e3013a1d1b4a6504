"""Hashes of what each modality of a document held when its vectors were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError
from mmsearch.index.arrays import ArrayWriter
from mmsearch.index.layout import CONTENTS
from mmsearch.index.manifest import StoredFile

UInt64 = npt.NDArray[np.uint64]

#: Columns: those of `Modality` in its order, and what is over is free.
NUM_CONTENTS = 8


class ContentsWriter:
    """Write content hashes in a stream: of all documents or of none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CONTENTS
        self._writer: ArrayWriter | None = None
        self._are_given: bool | None = None
        self._num_before = 0

    def check(self, num: int, contents: UInt64 | None) -> None:
        """Refuse hashes that do not fit their documents, or that only some batches have.

        Raises:
            DataError: telling which.
        """
        if contents is not None and (contents.shape != (num, NUM_CONTENTS) or contents.dtype != np.uint64):
            raise DataError(f"contents are {contents.dtype} {list(contents.shape)}, not uint64 [{num}, {NUM_CONTENTS}]")
        if num and self._are_given not in (None, contents is not None):
            raise DataError("content hashes were given for some documents and not for others; give all or none")

    def add(self, num: int, contents: UInt64 | None) -> None:
        """Add what `check` let through."""
        if not num:
            return
        self._are_given = contents is not None
        if contents is not None:
            self._open().append(contents)

    def skip(self, num: int) -> None:
        """Add rows that have no content: tombstones."""
        if self._writer is not None:
            self._writer.append(np.zeros((num, NUM_CONTENTS), np.uint64))
        else:
            self._num_before += num

    def _open(self) -> ArrayWriter:
        if self._writer is None:
            self._writer = ArrayWriter(self._path, "uint64", (NUM_CONTENTS,))
            self._writer.append(np.zeros((self._num_before, NUM_CONTENTS), np.uint64))
        return self._writer

    def abandon(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.abandon()

    def close(self) -> dict[str, StoredFile]:
        """Bring all to the disk and give size and checksum of the file, if there is one."""
        return {} if self._writer is None else {CONTENTS: self._writer.close()}
