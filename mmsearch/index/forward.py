"""The forward index: document ids to vectors, memory-mapped, one whole generation at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.files import hash_file
from mmsearch.index.arrays import open_array
from mmsearch.index.ids import IdTable, UInt64, check_rows
from mmsearch.index.layout import QUERY_TOWER, generations_of, present_file, read_current, split_name, vectors_file
from mmsearch.index.manifest import Manifest, read_manifest
from mmsearch.index.stored import Stored
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Space

#: How much of what is read is compared with its checksum: nothing, each block before it is first used, or all at once.
Verify = Literal["none", "lazy", "full"]

_MAX_RETRIES = 5
_BLOCK = 65536
_NUM_CONTENTS = 8


@dataclass(frozen=True, slots=True)
class Version:
    """Rows whose vectors come from one model, and the query tower of that model.

    Args:
        rows: the rows, dead ones too.
        spaces: the spaces that these rows have.
        query_tower: folder of their query tower.
    """

    rows: range
    spaces: tuple[Space, ...]
    query_tower: Path


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
    def open(cls, index_dir: Path | str, generation: str | None = None, *, verify: Verify = "lazy") -> ForwardIndex:
        """Open the generation that is served.

        Checks the manifest's checksum, and the size and header of every file: milliseconds, whatever the size. The
        checksums of everything else are read by `verify`.

        Args:
            index_dir: the index.
            generation: another generation, by its name.
            verify: `full` reads everything before it comes back; `lazy` compares a block with its checksum before
                a vector of it is first given; `none` leaves all that to `verify()`.

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
            return cls._checked(generations / generation, generation, verify)
        for _ in range(_MAX_RETRIES):
            name = read_current(index_dir)
            try:
                return cls._checked(generations / name, name, verify)
            except CorruptIndexError:
                if read_current(index_dir) == name:  # else it was replaced and removed while we opened it
                    raise
        raise CorruptIndexError(f"{index_dir}: generations come and go faster than one can be opened")

    @classmethod
    def _checked(cls, folder: Path, generation: str, verify: Verify) -> ForwardIndex:
        index = cls(folder, generation)
        if verify == "full":
            index.verify()
        return index

    @property
    def base(self) -> str | None:
        """The generation that this one lies over; None when it stands alone."""
        return None

    @property
    def versions(self) -> tuple[Version, ...]:
        """The models whose vectors are in it: one, or two while an upgrade is under way."""
        return (Version(range(self.num_rows), self.spaces, self.query_tower),)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The spaces, in the order of the features."""
        return tuple(stored.space for stored in self._manifest.spaces)

    @property
    def num_docs(self) -> int:
        """Number of documents that can be found."""
        return self._manifest.num_docs

    @property
    def num_rows(self) -> int:
        """Number of rows; those of documents that were deleted or replaced count."""
        return self._manifest.num_docs

    @property
    def has_contents(self) -> bool:
        """Whether content hashes were stored."""
        return False

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
        stored, present = self._arrays(space)
        wanted = check_rows(rows, self.num_rows)
        there = present.take(wanted, mode="clip") & (wanted >= 0)
        vectors = stored.take(wanted, axis=0, mode="clip").astype(np.float32)
        vectors[~there] = 0
        return vectors, there

    def raw(self, space: str, rows: npt.NDArray[np.int64]) -> Stored:
        """Give rows as they lie on the disk: what a copy into another generation takes.

        Args:
            space: name of the space.
            rows: rows of documents, none of them -1, [N].

        Raises:
            DataError: there is no such space, or the rows are of versions that are stored differently.
            CorruptIndexError: a block of these rows is damaged (`sound` tells which rows are not).
            IndexError: a row is out of range.
        """
        stored, present = self._arrays(space)
        wanted = check_rows(rows, self.num_rows, missing=False)
        return Stored(stored[wanted], None, present[wanted])

    def sound(self, space: str, rows: npt.NDArray[np.int64]) -> Bool:
        """Tell which rows lie in blocks that are what was published, [N]; there is no such knowledge with `none`."""
        self._arrays(space)
        return np.ones(len(check_rows(rows, self.num_rows, missing=False)), bool)

    def contents(self, rows: npt.NDArray[np.int64]) -> UInt64:
        """Give the content hash of every modality of documents, [N, 8].

        Columns stand in the order of `Modality`, what is over is free. 0 = the video lacks it; all zeros where no
        hashes were stored (`has_contents`) or the row is -1.
        """
        return np.zeros((len(check_rows(rows, self.num_rows)), _NUM_CONTENTS), np.uint64)

    def live(self) -> Bool:
        """Tell which rows are of documents that can be found, [num_rows]."""
        return np.ones(self.num_rows, bool)

    def present(self, space: str) -> Bool:
        """Tell which rows are live and have a vector in a space, [num_rows]."""
        return np.array(self._arrays(space)[1])

    def blocks(self, space: str, rows: range | None = None) -> Iterator[tuple[npt.NDArray[np.int64], Float32]]:
        """Give all vectors of a space, some thousand documents at a time, in the order of their rows.

        Args:
            space: name of the space.
            rows: these alone, as `Version.rows`.

        Returns:
            Pairs of rows [B] and their vectors [B, M*D]; documents that are dead, not present or damaged are left out.

        Raises:
            DataError: there is no such space.
        """
        stored, present = self._arrays(space)
        within = range(self.num_rows) if rows is None else rows
        for start in range(within.start, within.stop, _BLOCK):
            stop = min(start + _BLOCK, within.stop)
            kept = start + np.flatnonzero(present[start:stop])
            yield kept, stored[kept].astype(np.float32)

    def warm(self) -> None:
        """Read everything that look-ups need once, in order, so that the first ones find it in memory."""
        for space in self.spaces:
            for _ in self.blocks(space.name):
                pass

    def _arrays(self, space: str) -> tuple[npt.NDArray[Any], Bool]:
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
