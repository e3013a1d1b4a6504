"""Where faiss indexes lie beside the generations that they were built from, and whether they may be used.

    INDEX/ann/GENERATION/SPACE.TYPE.json              what was built, how, its checksum, and its measured recall
    INDEX/ann/GENERATION/SPACE.TYPE.<16 hex>.faiss    the faiss index that the JSON file names

The JSON file is replaced last: it names an index that is whole. One that nobody names is removed by the next build.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import xxhash
from pydantic import BaseModel, ConfigDict, Field

from mmsearch.errors import CorruptIndexError, DataError, FormatVersionError
from mmsearch.extras import require
from mmsearch.files import fsync_folder, hash_file, sole_writer, write_bytes
from mmsearch.index.layout import ann_of, generations_of
from mmsearch.index.recall.settings import Structure
from mmsearch.records import parse_record

#: Version of the JSON file. A reader refuses greater ones.
FORMAT_VERSION = 1

_MAX_BYTES = 1 << 20
_MAX_RETRIES = 3


class Recall(BaseModel):
    """Recall of an approximate search against the exact one.

    For each query the share of the `at` best documents by score (fewer where there are fewer) that come back; a
    document that scores as the last of them counts as one of them. The mean over the queries.
    """

    model_config = ConfigDict(frozen=True)

    at: int
    value: Annotated[float, Field(ge=0, le=1)]
    num_queries: int
    #: `queries` that were given, or `documents` that stood for them.
    measured_with: str
    ms_per_query: float


class AnnFile(BaseModel):
    """The content of the JSON file beside a faiss index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    generation: str
    space: str
    fingerprint: str
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+\.faiss$")]
    bytes: int
    xxh3: str
    num_vectors: int
    structure: Structure
    overfetch: float
    recall: Recall
    faiss: str
    seconds: float
    created_at: str


def list_ann(index_dir: Path, generation: str) -> list[AnnFile]:
    """Give what was built from a generation, by space and type; files that cannot be read are left out."""
    found = []
    for path in sorted((ann_of(index_dir) / generation).glob("*.json")):
        try:
            found.append(_read(path))
        except (CorruptIndexError, FormatVersionError, OSError):
            continue
    return found


def load_ann(index_dir: Path, generation: str, space: str, kind: str, fingerprint: str) -> tuple[AnnFile, Any]:
    """Load a faiss index, after checking that it is what was built, from this generation.

    Raises:
        DataError: none was built.
        CorruptIndexError: its bytes are not those that were written, or it belongs to other vectors.
        FormatVersionError: a newer mmsearch wrote it.
        MissingExtraError: faiss is absent.
    """
    faiss = require("faiss", extra="faiss")
    path = ann_of(index_dir) / generation / f"{space}.{kind}.json"
    for _ in range(_MAX_RETRIES):
        try:
            told = _read(path)
        except OSError as error:
            raise DataError(
                f"{index_dir}: no {kind} index of space '{space}' was built for {generation}; "
                f"build it: mmsearch index ann {index_dir} structure.type={kind}"
            ) from error
        if (told.generation, told.space, told.structure.type) != (generation, space, kind):
            raise CorruptIndexError(f"{path}: is of {told.generation}, space '{told.space}'; build it again")
        if told.fingerprint != fingerprint:
            raise CorruptIndexError(f"{path}: was built from vectors of another model; build it again")
        data = path.with_name(told.file)
        if _is_whole(data, told):
            return told, faiss.read_index(str(data))
        if _read(path).file == told.file:  # else it was built anew while we looked
            raise CorruptIndexError(f"{data}: is missing or damaged; build it again")
    raise CorruptIndexError(f"{path}: indexes come and go faster than one can be opened")


def _is_whole(path: Path, told: AnnFile) -> bool:
    try:
        return path.stat().st_size == told.bytes and hash_file(path) == told.xxh3
    except OSError:
        return False


def _read(path: Path) -> AnnFile:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES)
    return parse_record(AnnFile, data, path, version=FORMAT_VERSION, advice="build it again")


@contextmanager
def building(index_dir: Path, generation: str) -> Iterator[Path]:
    """Hold the folder of a generation's faiss indexes; what crashed builds and removed generations left goes first.

    Raises:
        DataError: another process builds there.
    """
    folder = ann_of(index_dir) / generation
    with sole_writer(folder):
        remove_orphans(index_dir)
        _sweep(folder)
        yield folder
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Remove the faiss indexes that no JSON file names, and files that were never finished."""
    told = [path.read_text("utf-8", "replace") for path in folder.glob("*.json")]
    for path in folder.iterdir():
        if path.suffix == ".tmp" or (path.suffix == ".faiss" and not any(path.name in text for text in told)):
            path.unlink()


def remove_orphans(index_dir: Path) -> None:
    """Remove the faiss indexes of generations that are not there any more."""
    there = {path.name for path in generations_of(index_dir).iterdir()} if generations_of(index_dir).is_dir() else set()
    for folder in ann_of(index_dir).glob("g*"):
        if folder.name not in there:
            shutil.rmtree(folder, ignore_errors=True)


def save(folder: Path, name: str, built: Any) -> tuple[str, int, str]:
    """Write a faiss index under a name that nobody reads yet; give its file, size and checksum.

    Raises:
        DataError: the disk refuses.
        CorruptIndexError: what was read back is not what was written.
    """
    beside = folder / f".{name}.tmp"
    try:
        checksum = _write(beside, built)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{folder}: writing failed: {error.strerror}; make room and build again") from error
    if hash_file(beside) != checksum:
        raise CorruptIndexError(f"{beside}: what was read back is not what was written; check the disk")
    size, final = beside.stat().st_size, folder / f"{name}.{checksum[:16]}.faiss"
    beside.replace(final)
    fsync_folder(folder)
    return final.name, size, checksum


def _write(path: Path, built: Any) -> str:
    """Bring a faiss index to the disk and give its checksum; faiss's own writer loses errors of the last bytes."""
    faiss = require("faiss", extra="faiss")
    digest, refused = xxhash.xxh3_128(), []
    with path.open("wb") as file:

        def write(data: bytes) -> None:
            digest.update(data)
            try:
                file.write(data)
            except OSError as error:
                refused.append(error)
                raise

        try:
            faiss.write_index(built, faiss.PyCallbackIOWriter(write))
        except RuntimeError:
            if refused:  # faiss raises its own kind
                raise refused[0] from None
            raise
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def let_serve(folder: Path, told: AnnFile) -> Path:
    """Name a faiss index in its JSON file; give the JSON file."""
    path = folder / f"{told.space}.{told.structure.type}.json"
    write_bytes(path, told.model_dump_json(indent=2).encode() + b"\n")
    return path
