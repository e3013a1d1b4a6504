"""What a generation holds: read and checked before anything else is opened."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import xxhash
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mmsearch.errors import CorruptIndexError
from mmsearch.index.layout import FORMAT_VERSION, MANIFEST, split_name
from mmsearch.records import parse_record
from mmsearch.types import Space

Dtype = Literal["float16", "float32", "int8"]

_ITEM_BYTES: dict[Dtype, int] = {"float16": 2, "float32": 4, "int8": 1}
_MAX_BYTES = 16 << 20
_SPACE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or ".." in parts or path.startswith("/") or "\\" in path or "\0" in path:
        raise ValueError("not a plain relative path")
    return path


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StoredSpace(_Stored):
    """A space as it is stored; its name is part of file names, so it is letters, digits, `.`, `_` and `-`."""

    name: Annotated[str, Field(pattern=_SPACE_NAME)]
    dim: Annotated[int, Field(ge=1, le=1 << 16)]
    dtype: Dtype
    fingerprint: Annotated[str, Field(min_length=1, max_length=256)]
    #: Since format 2.
    num_codes: Annotated[int, Field(ge=1, le=1 << 10)] = 1

    @property
    def space(self) -> Space:
        """The space, without how it is stored."""
        return Space(self.name, self.dim, self.fingerprint, self.num_codes)

    @property
    def row_bytes(self) -> int:
        """Bytes of a document's vectors, scales not counted."""
        return self.space.row_dim * _ITEM_BYTES[self.dtype]


class StoredFile(_Stored):
    """Size and xxh3-128 of a file."""

    bytes: Annotated[int, Field(ge=0)]
    xxh3: str


class Manifest(_Stored):
    """The content of `manifest.json`."""

    format_version: int
    spaces: Annotated[tuple[StoredSpace, ...], Field(min_length=1)]
    #: Rows of this generation's own files; in an overlay tombstones are rows too.
    num_docs: Annotated[int, Field(ge=1, lt=1 << 32)]
    files: dict[Annotated[str, AfterValidator(_inside)], StoredFile]
    source: dict[str, Any]
    parent: str | None
    created_at: str
    #: Random: two generations with the same content have different names.
    nonce: str
    #: Since format 3; None in a generation that stands alone.
    base: str | None = None
    #: Of an overlay: rows that are tombstones, and rows of the base that its documents replace.
    num_deleted: Annotated[int, Field(ge=0)] = 0
    num_superseded: Annotated[int, Field(ge=0)] = 0

    def to_bytes(self) -> bytes:
        """Give the bytes of the file."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def manifest_hash(data: bytes) -> str:
    """Give the hash of a manifest that is part of its generation's name: xxh3-64, 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(data)


def read_manifest(folder: Path, name: str) -> Manifest:
    """Read the manifest of a generation.

    Args:
        folder: the generation's folder.
        name: the generation's name, which holds the hash of the manifest.

    Raises:
        CorruptIndexError: the manifest is missing, is not the one that the name stands for, or does not parse.
        FormatVersionError: a newer mmsearch wrote it.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise CorruptIndexError(f"{path}: cannot be read ({error.strerror}); publish again") from error
    split = split_name(name)
    if split is None or manifest_hash(data) != split[1]:
        raise CorruptIndexError(f"{path}: is not the manifest that was published as {name}; publish again")
    return parse_record(Manifest, data, path, version=FORMAT_VERSION, advice="publish again")
