"""The forward index: document ids to vectors, memory-mapped, one whole generation at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.files import hash_file
from mmsearch.index.arrays import open_array
from mmsearch.index.ids import IdTable, check_rows
from mmsearch.index.layout import QUERY_TOWER, generations_of, present_file, read_current, split_name, vectors_file
from mmsearch.index.manifest import Manifest, read_manifest
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Space

_MAX_RETRIES = 5


class ForwardIndex:
    """One generation of a forward index, open for reading.

    Immutable and safe for threads; the pages are shared by all processes that have it open. A refresh that publishes
    and removes generations meanwhile does not disturb it: what is open stays whole until the object is dropped.

    See also:
        GenerationWriter: writes the next generation. mmsearch.scoring.FeatureScorer: scores with it.
    """

    def __init__(self, folder: Path, generation: str) -> None:
        manifest = read_manifest(folder, generation)
        _check_sizes(folder, manifest)
        self._folder, self._manifest, self.generation = folder, manifest, generation
        self._ids = IdTable(folder, manifest)
        self._vectors: dict[str, npt.NDArray[Any]] = {}
        self._present: dict[str, Bool] = {}
        for space in manifest.spaces:
            path = folder / vectors_file(space.name)
            self._vectors[space.name] = open_array(path, space.dtype, (manifest.num_docs, space.space.row_dim))
            self._present[space.name] = open_array(folder / present_file(space.name), "bool", (manifest.num_docs,))

    @classmethod
    def open(cls, index_dir: Path | str, generation: str | None = None) -> ForwardIndex:
        """Open the generation that is served.

        Checks the manifest's checksum, and the size and header of every file: milliseconds, whatever the size. The
        checksums of everything else are read by `verify`.

        Args:
            index_dir: the index.
            generation: another generation, by its name.

        Raises:
            DataError: nothing was published here, or there is no such generation.
            CorruptIndexError: a file is missing, cut, damaged or belongs elsewhere.
            FormatVersionError: a newer mmsearch wrote it.
        """
        index_dir = Path(index_dir)
        generations = generations_of(index_dir)
        if generation is not None:
            if split_name(generation) is None or not (generations / generation).is_dir():
                raise DataError(f"{index_dir}: there is no generation {generation!r}")
            return cls(generations / generation, generation)
        for _ in range(_MAX_RETRIES):
            name = read_current(index_dir)
            try:
                return cls(generations / name, name)
            except CorruptIndexError:
                if read_current(index_dir) == name:  # else it was replaced and removed while we opened it
                    raise
        raise CorruptIndexError(f"{index_dir}: generations come and go faster than one can be opened")

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The spaces, in the order of the features."""
        return tuple(stored.space for stored in self._manifest.spaces)

    @property
    def num_docs(self) -> int:
        """Number of documents."""
        return self._manifest.num_docs

    @property
    def doc_ids(self) -> Sequence[str]:
        """The ids in the order of their rows (read from the disk when asked for)."""
        return self._ids

    @property
    def query_tower(self) -> Path:
        """Folder of the query tower that was published with the vectors."""
        return self._folder / QUERY_TOWER

    @property
    def source(self) -> Mapping[str, Any]:
        """Where the vectors come from, as it was given when they were published."""
        return self._manifest.source

    @property
    def dtypes(self) -> Mapping[str, str]:
        """How the vectors of each space are stored: float16 or float32."""
        return {stored.name: stored.dtype for stored in self._manifest.spaces}

    def rows(self, doc_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give the row of every id, [N]; -1 = there is no such document."""
        return self._ids.rows(doc_ids)

    def vectors(self, space: str, rows: npt.NDArray[np.int64]) -> tuple[Float32, Bool]:
        """Give vectors of one space.

        Args:
            space: name of the space.
            rows: rows of documents, as `rows` gives them; -1 is allowed, [N].

        Returns:
            The vectors, [N, M*D]: the codes of a document one after another (M is 1 in most spaces); and whether each
            document is present, [N]. Vectors that are not present (the document is missing, or has no modality that
            this space reads) are zeros and must not be scored.

        Raises:
            DataError: there is no such space.
            IndexError: a row is out of range.
        """
        stored, present = self.stored(space)
        wanted = check_rows(rows, self.num_docs)
        there = present.take(wanted, mode="clip") & (wanted >= 0)
        vectors = stored.take(wanted, axis=0, mode="clip").astype(np.float32)
        vectors[~there] = 0
        return vectors, there

    def stored(self, space: str) -> tuple[npt.NDArray[Any], Bool]:
        """Give all vectors of a space as they lie on the disk, read-only: [num_docs, M*D], present [num_docs]."""
        if space not in self._vectors:
            raise DataError(f"{self._folder}: there is no space '{space}'; there are: {', '.join(self._vectors)}")
        return self._vectors[space], self._present[space]

    def verify(self) -> None:
        """Read every file and compare its checksum (about a second a gigabyte).

        Raises:
            CorruptIndexError: naming every file that is not what was published.
        """
        read_manifest(self._folder, self.generation)
        self._verify(list(self._manifest.files))

    def verify_query_tower(self) -> None:
        """Read the files of the query tower alone and compare their checksums.

        A damaged vector costs one document, a damaged query tower every score.

        Raises:
            CorruptIndexError: naming every file that is not what was published.
        """
        self._verify([name for name in self._manifest.files if name.startswith(f"{QUERY_TOWER}/")])

    def _verify(self, names: Sequence[str]) -> None:
        bad = [name for name in names if not self._holds(name, self._manifest.files[name].xxh3)]
        if bad:
            raise CorruptIndexError(f"{self._folder}: damaged: {', '.join(sorted(bad))}; publish again")

    def _holds(self, name: str, checksum: str) -> bool:
        try:
            return hash_file(self._folder / name) == checksum
        except OSError:
            return False


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for name, stored in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != stored.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise CorruptIndexError(f"{path}: {found} instead of {stored.bytes} bytes; publish again")
