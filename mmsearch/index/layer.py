"""One generation's own files, open for reading."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError
from mmsearch.files import hash_bytes, hash_file
from mmsearch.index.arrays import open_array
from mmsearch.index.column import Column
from mmsearch.index.contents import NUM_CONTENTS, UInt64
from mmsearch.index.ids import IdTable
from mmsearch.index.layout import CONTENTS, DELETED, QUERY_TOWER, SUPERSEDED
from mmsearch.index.lease import Lease
from mmsearch.index.manifest import Manifest, read_manifest
from mmsearch.protocols import Bool
from mmsearch.types import Space

Int64 = npt.NDArray[np.int64]


class Layer:
    """What a generation holds itself: all of it, or what it changes in its base. Held against removal while it lives.

    Args:
        folder: of the generation.
        name: its name, which holds the hash of its manifest.
        lazy: compare what is read with its checksum when it is first used.

    Raises:
        CorruptIndexError: a file is missing, cut, damaged or belongs elsewhere.
        FormatVersionError: a newer mmsearch wrote it.
    """

    def __init__(self, folder: Path, name: str, *, lazy: bool) -> None:
        self._lease = Lease(folder)
        self.manifest = read_manifest(folder, name)
        _check_sizes(folder, self.manifest)
        self.folder, self.name, self.num_rows, self._lazy = folder, name, self.manifest.num_docs, lazy
        self.ids = IdTable(folder, self.num_rows)
        self.columns = {space.name: Column(folder, space, self.num_rows, lazy=lazy) for space in self.manifest.spaces}
        self.spaces: tuple[Space, ...] = tuple(stored.space for stored in self.manifest.spaces)

    @property
    def query_tower(self) -> Path | None:
        """Folder of its own query tower; None in an overlay that keeps that of its base."""
        own = any(name.startswith(f"{QUERY_TOWER}/") for name in self.manifest.files)
        return self.folder / QUERY_TOWER if own else None

    @property
    def tower_checksum(self) -> str:
        """Hash of the names and checksums of the files of its own query tower."""
        files = sorted((name, file) for name, file in self.manifest.files.items() if name.startswith(f"{QUERY_TOWER}/"))
        return hash_bytes(*(part.encode() for name, file in files for part in (name, file.xxh3)))

    @cached_property
    def deleted(self) -> Bool:
        """Which rows are tombstones, [num_rows]."""
        if self.manifest.base is None:
            return np.zeros(self.num_rows, bool)
        deleted: Bool = open_array(self._checked(DELETED), "bool", (self.num_rows,))
        return deleted

    @cached_property
    def superseded(self) -> Int64:
        """Rows of the base that documents or tombstones of this overlay replace, ascending.

        Raises:
            CorruptIndexError: they are not.
        """
        if not self.manifest.num_superseded:
            return np.empty(0, np.int64)
        rows: Int64 = open_array(self._checked(SUPERSEDED), "int64", (self.manifest.num_superseded,))
        if int(rows[0]) < 0 or (rows[1:] <= rows[:-1]).any():
            raise CorruptIndexError(f"{self.folder / SUPERSEDED}: is not a list of ascending rows; publish again")
        return rows

    @property
    def has_contents(self) -> bool:
        """Whether content hashes were stored."""
        return CONTENTS in self.manifest.files

    @cached_property
    def contents(self) -> UInt64:
        """The content hash of each modality, [num_rows, 8]."""
        contents: UInt64 = open_array(self._checked(CONTENTS), "uint64", (self.num_rows, NUM_CONTENTS))
        return contents

    def _checked(self, name: str) -> Path:
        """Give the path of a small file whose checksum holds."""
        if self._lazy:
            self.verify([name])
        return self.folder / name

    def verify(self, names: Sequence[str] | None = None) -> None:
        """Read files and compare their checksums.

        Args:
            names: relative to the generation; all of them by default.

        Raises:
            CorruptIndexError: naming every file that is not what was published.
        """
        read_manifest(self.folder, self.name)
        found = {name: self._fault(name) for name in sorted(self.manifest.files if names is None else names)}
        if bad := [f"{name}{fault}" for name, fault in found.items() if fault is not None]:
            raise CorruptIndexError(f"{self.folder}: damaged: {', '.join(bad)}; publish again")

    def verify_query_tower(self) -> None:
        """Read the files of its own query tower and compare their checksums; raises as `verify`."""
        self.verify([name for name in self.manifest.files if name.startswith(f"{QUERY_TOWER}/")])

    def _fault(self, name: str) -> str | None:
        """Give None where a file is what was published; else what to say after its name."""
        try:
            return None if hash_file(self.folder / name) == self.manifest.files[name].xxh3 else ""
        except KeyError:
            return " (is not in the manifest)"
        except OSError as error:
            return f" (cannot be read: {error.strerror})"

    def warm(self) -> None:
        """Read what look-ups need, in order."""
        self.ids.warm()
        for column in self.columns.values():
            column.warm()


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for name, stored in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != stored.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise CorruptIndexError(f"{path}: {found} instead of {stored.bytes} bytes; publish again")
