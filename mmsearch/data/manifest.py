"""`corpus.json`: what a prepared corpus holds, and how to tell that it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.errors import FormatVersionError, IntegrityError
from mmsearch.files import hash_bytes, read_json, write_json

NAME = "corpus.json"
SHARDS = "shards"
#: Written where the corpus has key sentences; without, it is still 1.
FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a prepared corpus.

    Args:
        name: file name in the folder `shards`.
        rows: videos in it.
        bytes: size of the file.
        checksum: xxh3-128 of the file.
        key: hash of the content: ids and modality hashes of its videos, in order. Equal keys = nothing to re-embed.
            Of a file of key sentences: of the content of its shard with them.
    """

    name: str
    rows: int
    bytes: int
    checksum: str
    key: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `corpus.json`.

    Args:
        settings: what it was prepared with.
        shards: its files, in row order; none is empty.
        counts: rows of the table, videos, and rejections by reason.
        source: the table: path, bytes and checksum.
        sentences: files of key sentences, one for each shard; empty = none were chosen.
    """

    settings: PrepareSettings
    shards: tuple[Shard, ...]
    counts: dict[str, Any]
    source: dict[str, Any]
    sentences: tuple[Shard, ...] = ()

    @property
    def content_hash(self) -> str:
        """Hash of the videos in all shards, in order, with their key sentences."""
        return hash_bytes(*(shard.key.encode() for shard in self.sentences or self.shards))

    def write(self, folder: Path) -> None:
        """Write it atomically: from then on the folder is this corpus."""
        content = {
            "format_version": FORMAT_VERSION if self.sentences else 1,
            "settings": self.settings.for_record(),
            "content_hash": self.content_hash,
            "counts": self.counts,
            "source": self.source,
            "shards": [asdict(shard) for shard in self.shards],
        }
        if self.sentences:
            content["sentences"] = [asdict(file) for file in self.sentences]
        write_json(folder / NAME, content | {"checksum": _checksum(content)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check it.

        Raises:
            DataError: there is none, or it is no JSON.
            FormatVersionError: a newer mmsearch wrote it.
            IntegrityError: it was changed since it was written.
        """
        path = folder / NAME
        content = read_json(path)
        version = content.get("format_version") if isinstance(content, dict) else None
        if not isinstance(version, int):
            raise IntegrityError(f"{path}: this is no manifest of a prepared corpus")
        if version > FORMAT_VERSION:
            raise FormatVersionError(f"{path}: format {version}, this mmsearch reads {FORMAT_VERSION}; upgrade it")
        if content.pop("checksum", None) != _checksum(content):
            raise IntegrityError(f"{path}: its checksum does not hold; run `mmsearch prepare` again")
        shards = tuple(Shard(**shard) for shard in content["shards"])
        sentences = tuple(Shard(**file) for file in content.get("sentences", ()))
        return cls(PrepareSettings(**content["settings"]), shards, content["counts"], content["source"], sentences)


def _checksum(content: dict[str, Any]) -> str:
    return hash_bytes(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())
