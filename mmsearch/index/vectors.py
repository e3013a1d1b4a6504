"""The vectors of one space, as they are checked and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsearch.errors import DataError
from mmsearch.index.arrays import ArrayWriter
from mmsearch.index.layout import present_file, vectors_file
from mmsearch.index.manifest import StoredFile, StoredSpace
from mmsearch.protocols import Embedded

#: How far from 1 the length of an L2-normalised vector may be: fp16 and bf16 towers are a few thousandths off.
NORM_TOLERANCE = 0.02


class VectorWriter:
    """Write the vectors of one space in a stream."""

    def __init__(self, folder: Path, space: StoredSpace) -> None:
        self._space = space
        self._vectors = ArrayWriter(folder / vectors_file(space.name), space.dtype, (space.space.row_dim,))
        self._present = ArrayWriter(folder / present_file(space.name), "bool")

    def add(self, embedded: Embedded) -> None:
        """Add vectors that `check` let through; those that are not present are stored as zeros."""
        self._vectors.append(np.where(embedded.present[:, None], embedded.vectors, np.float32(0)))
        self._present.append(embedded.present)

    def abandon(self) -> None:
        """Let go of the files."""
        self._vectors.abandon()
        self._present.abandon()

    def close(self) -> dict[str, StoredFile]:
        """Bring all to the disk and give size and checksum of each file."""
        return {writer.path.name: writer.close() for writer in (self._vectors, self._present)}


def check(space: StoredSpace, doc_ids: Sequence[str], embedded: Embedded) -> None:
    """Refuse vectors that cannot be scored.

    Raises:
        DataError: the shapes do not fit the space or the ids, or a code of a present document is not finite or not of
            length 1; the message names the space and the first such document.
    """
    vectors, present = np.asarray(embedded.vectors), np.asarray(embedded.present)
    if vectors.shape != (len(doc_ids), space.space.row_dim):
        raise DataError(
            f"space '{space.name}': vectors of shape {list(vectors.shape)} for {len(doc_ids)} documents "
            f"of {space.num_codes} × dimension {space.dim}"
        )
    if present.shape != (len(doc_ids),) or present.dtype != np.bool_:
        raise DataError(
            f"space '{space.name}': 'present' is {present.dtype} {list(present.shape)}, not bool [documents]"
        )
    codes = vectors.reshape(len(doc_ids), space.num_codes, space.dim)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(codes.astype(np.float64), axis=2)
        bad = present[:, None] & ~(np.abs(norms - 1) <= NORM_TOLERANCE)
    if bad.any():
        row, code = (int(at) for at in np.argwhere(bad)[0])
        finite, length = bool(np.isfinite(codes[row, code]).all()), norms[row, code]
        what = f"has length {length:.6g} instead of 1" if finite else "has a component that is NaN or infinite"
        which = "the vector" if space.num_codes == 1 else f"code {code} (of {space.num_codes})"
        raise DataError(
            f"space '{space.name}': {which} of document {doc_ids[row]!r} {what} "
            f"({int(bad.any(1).sum())} of {len(doc_ids)} in this batch); mend the document tower"
        )
