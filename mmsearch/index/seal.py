"""Bring files into a generation so that they survive a power loss."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from mmsearch.errors import CorruptIndexError
from mmsearch.files import fsync_folder, hash_file
from mmsearch.index.manifest import StoredFile

_CHUNK = 1 << 20


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and bring it to the disk (not its name: fsync the folder for that)."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_files(source: Path, folder: Path, prefix: str) -> dict[str, StoredFile]:
    """Copy all files below a folder to `folder/prefix`, and give size and checksum of each by its relative name.

    Links are followed: model caches are made of them, and a generation must stand alone.
    """
    stored = {}
    for original in sorted(path for path in source.rglob("*") if path.is_file()):
        name = f"{prefix}/{original.relative_to(source).as_posix()}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        stored[name] = _copy(original, folder / name)
    for subfolder in sorted(path for path in (folder / prefix).rglob("*") if path.is_dir()):
        fsync_folder(subfolder)
    fsync_folder(folder / prefix)
    return stored


def _copy(original: Path, copy: Path) -> StoredFile:
    digest, size = xxhash.xxh3_128(), 0
    with original.open("rb") as reading, copy.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    if hash_file(copy) != digest.hexdigest():
        raise CorruptIndexError(f"{copy}: what was read back is not what was written; check the disk")
    return StoredFile(bytes=size, xxh3=digest.hexdigest())
