"""The forward index: document ids to vectors, memory-mapped, one whole generation at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index.contents import UInt64
from mmsearch.index.ids import ChainedIds, check_rows
from mmsearch.index.layer import Layer
from mmsearch.index.layers import Layers
from mmsearch.index.layout import generations_of, read_current, split_name
from mmsearch.index.manifest import Dtype
from mmsearch.index.stored import Stored
from mmsearch.index.version import Version
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Space

Int64 = npt.NDArray[np.int64]
#: What of an index is compared with its checksums: nothing, each block before it is first used, or all before it opens.
Verify = Literal["none", "lazy", "full"]

_MAX_RETRIES = 5


class ForwardIndex:
    """One generation of a forward index, open for reading; with its base, when it is an overlay.

    Immutable and safe for threads; the pages are shared by all processes that have it open. A refresh that publishes
    and removes generations meanwhile does not disturb it: while the object lives, a shared lock on the generation keeps
    its files where they are. Drop the object to let go.

    Rows of the base come first, those of the overlay after them; rows of documents that were replaced or deleted stay
    where they are and are *dead*: no id leads to them, and they are present nowhere.

    See also:
        GenerationWriter: writes the next generation. mmsearch.scoring.FeatureScorer: scores with it.
        mmsearch.index.generations: lists, serves and collects generations.
    """

    def __init__(self, folder: Path, generation: str, *, verify: Verify = "lazy") -> None:
        lazy = verify == "lazy"
        top = Layer(folder, generation, lazy=lazy)
        base = top.manifest.base
        if base is None:
            self._layers = Layers(top, None)
        else:
            self._layers = Layers(Layer(folder.with_name(base), base, lazy=lazy), top)
        self.generation, self.base = generation, base
        self._ids = ChainedIds([layer.ids for layer in self._layers.all])
        if verify == "full":
            self.verify()

    @classmethod
    def open(cls, index_dir: Path | str, generation: str | None = None, *, verify: Verify = "lazy") -> ForwardIndex:
        """Open the generation that is served.

        Checks the manifest's checksum, and the size and header of every file: milliseconds, whatever the size.

        Args:
            index_dir: the index.
            generation: another generation, by its name.
            verify: `full` reads everything first, as `verify()` does; `lazy` compares a block of about 256 KiB with its
                checksum before a vector of it is first given, and costs about 15 µs a thousand look-ups after that;
                `none` compares nothing. Indexes of formats 1 and 2 hold no checksums of blocks: `lazy` is `none` there.

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
            return cls(generations / generation, generation, verify=verify)
        for _ in range(_MAX_RETRIES):
            name = read_current(index_dir)
            try:
                return cls(generations / name, name, verify=verify)
            except CorruptIndexError:
                if read_current(index_dir) == name:  # else it was replaced and removed while we opened it
                    raise
        raise CorruptIndexError(f"{index_dir}: generations come and go faster than one can be opened")

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The spaces, in the order of the features; of the newer model while an upgrade is under way."""
        return self._layers.top.spaces

    @property
    def num_docs(self) -> int:
        """Number of documents that can be found."""
        return self._layers.num_docs

    @property
    def num_rows(self) -> int:
        """Number of rows, dead ones too."""
        return self._layers.num_rows

    @property
    def doc_ids(self) -> Sequence[str]:
        """The ids in the order of their rows, those of dead rows too; read from the disk when asked for.

        A damaged id is told by `CorruptIndexError` and never given.
        """
        return self._ids

    @property
    def query_tower(self) -> Path:
        """Folder of the query tower of `spaces`."""
        return self.versions[-1].query_tower

    @property
    def versions(self) -> tuple[Version, ...]:
        """The models whose vectors are in it, older first: one, or two while an upgrade is under way.

        Raises:
            CorruptIndexError: the base has no query tower.
        """
        base, top = self._layers.base, self._layers.top
        if base.query_tower is None:
            raise CorruptIndexError(f"{base.folder}: holds no query tower; publish again")
        if top is base or top.query_tower is None:
            return (Version(range(self.num_rows), base.spaces, base.query_tower, base.tower_checksum),)
        older = Version(range(base.num_rows), base.spaces, base.query_tower, base.tower_checksum)
        newer = range(base.num_rows, self.num_rows)
        return older, Version(newer, top.spaces, top.query_tower, top.tower_checksum)

    @property
    def source(self) -> Mapping[str, Any]:
        """Where the vectors come from, as it was given when they were published."""
        return self._layers.top.manifest.source

    @property
    def dtypes(self) -> Mapping[str, Dtype]:
        """How the vectors of each space are stored: float16, float32 or int8."""
        return {stored.name: stored.dtype for stored in self._layers.top.manifest.spaces}

    @property
    def has_contents(self) -> bool:
        """Whether content hashes were stored."""
        return any(layer.has_contents for layer in self._layers.all)

    def rows(self, doc_ids: Sequence[str]) -> Int64:
        """Give the row of every id, [N]; -1 = there is no such document. An overlay's row goes before the base's."""
        return self._layers.find(doc_ids)

    def deleted(self, doc_ids: Sequence[str]) -> Bool:
        """Tell which ids are of documents that were deleted since the base was published, [N]; for people."""
        return self._layers.deleted(doc_ids)

    def vectors(self, space: str, rows: Int64) -> tuple[Float32, Bool]:
        """Give vectors of one space.

        Args:
            space: name of the space.
            rows: rows of documents, as `rows` gives them; -1 is allowed, [N].

        Returns:
            The vectors, [N, M*D]: the codes of a document one after another (M is 1 in most spaces); and whether each
            document is present, [N]. Vectors that are not present (the document is missing, dead, or has no modality
            that this space reads; or a checksum tells that its bytes are damaged) are zeros and must not be scored.

        Raises:
            DataError: there is no such space.
            FingerprintError: the rows come from two models.
            IndexError: a row is out of range.
        """
        return self._layers.floats(space, check_rows(rows, self.num_rows))

    def dots(self, space: str, rows: Int64, query: Float32) -> tuple[Float32, Bool]:
        """Give the dot products of a query with every code of documents: their cosines, as stored codes have length 1.

        Args:
            space: name of the space.
            rows: rows of documents, as `rows` gives them; -1 is allowed, [N].
            query: L2-normalised, [D].

        Returns:
            The dots, [N, M] (`mmsearch.index.codes` makes one score of the M); and whether each document is present,
            [N]. Documents that `vectors` does not give are not, nor is one of which any dot is NaN or beyond 1.05: its
            bytes are damaged. What is not present has zeros, and must not be scored.

        Raises:
            DataError: there is no such space, or the query does not fit it.
            FingerprintError: the rows come from two models.
            IndexError: a row is out of range.
        """
        return self._layers.dots(space, check_rows(rows, self.num_rows), query)

    def raw(self, space: str, rows: Int64) -> Stored:
        """Give rows as they lie on the disk, dead ones too: what a copy into another generation takes.

        Args:
            space: name of the space.
            rows: rows of documents, none of them -1, [N].

        Raises:
            DataError: there is no such space, or not in all of these rows, or they are stored in different ways.
            FingerprintError: the rows come from two models.
            CorruptIndexError: some of these rows are damaged (`sound` tells which).
            IndexError: a row is out of range.
        """
        return self._layers.raw(space, check_rows(rows, self.num_rows, missing=False))

    def sound(self, space: str, rows: Int64) -> Bool:
        """Tell which rows lie in blocks that are what was published, [N].

        All of them with `verify="none"` and in indexes of formats 1 and 2, where no block is compared with anything.
        """
        return self._layers.sound(space, check_rows(rows, self.num_rows, missing=False))

    def contents(self, rows: Int64) -> UInt64:
        """Give the content hash of every modality of documents, [N, 8].

        Columns stand in the order of `Modality`; what is over is free. 0 = the video lacks it; all zeros where no
        hashes were stored (`has_contents`) or the row is -1.

        Raises:
            CorruptIndexError: the file of the hashes is damaged.
            IndexError: a row is out of range.
        """
        return self._layers.contents(check_rows(rows, self.num_rows))

    def live(self) -> Bool:
        """Tell which rows are of documents that can be found, [num_rows]."""
        return self._layers.live()

    def present(self, space: str) -> Bool:
        """Tell which rows are live and have a vector in a space, [num_rows]; damage is not looked for.

        Raises:
            DataError: there is no such space.
        """
        return self._layers.present(space)

    def blocks(self, space: str, rows: range | None = None) -> Iterator[tuple[Int64, Float32]]:
        """Give all vectors of a space, some 16 MiB at a time, in the order of their rows.

        Args:
            space: name of the space.
            rows: these alone, as `Version.rows`; give them where there are two versions.

        Returns:
            Pairs of rows [B] and their vectors [B, M*D]; documents that are dead, not present or damaged are left out.

        Raises:
            DataError: there is no such space.
        """
        return self._layers.blocks(space, range(self.num_rows) if rows is None else rows)

    def warm(self) -> None:
        """Read what look-ups need once, in order: about a second a gigabyte from a disk, a tenth of that from memory.

        The first look-ups then find it in memory, and with `lazy` every block is compared with its checksum by then.
        """
        for layer in self._layers.all:
            layer.warm()

    def verify(self) -> None:
        """Read every file, those of the base too, and compare its checksum.

        Raises:
            CorruptIndexError: naming every file that is not what was published.
        """
        for layer in self._layers.all:
            layer.verify()

    def verify_query_tower(self) -> None:
        """Read the files of the query towers alone and compare their checksums.

        A damaged vector costs one document, a damaged query tower every score.

        Raises:
            CorruptIndexError: naming every file that is not what was published.
        """
        for layer in self._layers.all:
            layer.verify_query_tower()
