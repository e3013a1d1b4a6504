"""Fingerprints: what says that vectors and query towers were made by the same model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xxhash

from mmsearch.errors import DataError, FingerprintError
from mmsearch.files import hash_bytes, hash_file

Part = bytes | str | Path


def fingerprint(parts: Mapping[str, Part]) -> str:
    """Give the hash of everything that moves the vectors of a space.

    xxh3-128, cut to 16 hex digits: against accidents, not against attackers. The order of the keys does not count; a
    changed, added, removed or renamed part does.

    Args:
        parts: name -> content. Text stands for its UTF-8 bytes, a file for its content, a folder for the names and
            contents of all files below it (where they lie and when they were written does not count).

    Raises:
        DataError: a path does not exist or cannot be read.
    """
    digests = [piece for key in sorted(parts) for piece in (key.encode(), _digest(key, parts[key]).encode())]
    return hash_bytes(*digests)[:16]


def _digest(key: str, part: Part) -> str:
    if not isinstance(part, Path):
        return xxhash.xxh3_128_hexdigest(part.encode() if isinstance(part, str) else part)
    try:
        if not part.is_dir():
            return hash_file(part)
        files = sorted((path.relative_to(part).as_posix(), path) for path in part.rglob("*") if path.is_file())
        return hash_bytes(*(piece.encode() for name, path in files for piece in (name, hash_file(path))))
    except OSError as error:
        raise DataError(f"{part}: fingerprint part '{key}' cannot be read: {error.strerror}") from error


def check_same(space_name: str, a: str, b: str, a_where: str, b_where: str) -> None:
    """Refuse to compare vectors of two models.

    Args:
        space_name: the space.
        a: one fingerprint.
        b: the other one.
        a_where: what bears fingerprint `a` and where it lies, for the message.
        b_where: the same for `b`.

    Raises:
        FingerprintError: the fingerprints differ.
    """
    if a != b:
        raise FingerprintError(
            f"space '{space_name}': {a_where} has fingerprint {a}, {b_where} has {b}: they come from different models, "
            "preprocessing or tokenizers; refresh the index with the model whose query tower is to be served"
        )
