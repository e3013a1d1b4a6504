"""Key sentences beside the shards of a prepared corpus: one Parquet file a shard, with the same rows.

They stand in files of their own, because they are chosen when all videos are known, and chosen anew without touching
the pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsearch.errors import IntegrityError
from mmsearch.files import hash_bytes, replacing
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality

SENTENCES = "sentences"
_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("key_sentences", pa.string()),
        pa.field("method", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class KeySentences:
    """What was chosen from the transcript of a video.

    Args:
        doc_id: the video.
        text: the sentences, verbatim, with a line end between two (there may be others within); None = it has no
            transcript.
        method: what chose them in the end; None = it has no transcript.
    """

    doc_id: str
    text: str | None
    method: str | None


def write_key_sentences(path: Path, rows: Sequence[KeySentences], row_group_size: int) -> None:
    """Write the rows of one shard, atomically. The same rows give the same bytes."""
    columns = {
        "doc_id": [row.doc_id for row in rows],
        "key_sentences": [row.text for row in rows],
        "method": [row.method for row in rows],
    }
    with replacing(path) as beside:
        pq.write_table(
            pa.table(columns, schema=_SCHEMA),
            beside,
            row_group_size=row_group_size,
            compression="ZSTD",
            use_dictionary=False,
            write_page_checksum=True,
        )


def open_key_sentences(path: Path) -> Any:
    """Open a file for reading row groups (page checksums are verified).

    Raises:
        IntegrityError: the file is missing, is no Parquet, or holds other columns.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: cannot be opened: {error}; run `mmsearch prepare` again") from error
    if not file.schema_arrow.equals(_SCHEMA):
        raise IntegrityError(f"{path}: its columns are not those of key sentences; run `mmsearch prepare` again")
    return file


def read_key_sentences(file: Any, number: int, path: Path) -> list[KeySentences]:
    """Read a row group.

    Raises:
        IntegrityError: a checksum does not hold.
    """
    try:
        table = file.read_row_group(number, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: row group {number}: {error}; run `mmsearch prepare` again") from error
    return [KeySentences(row["doc_id"], row["key_sentences"], row["method"]) for row in table.to_pylist()]


def with_key_sentences(
    videos: Sequence[PreparedVideo], rows: Sequence[KeySentences], path: Path
) -> list[PreparedVideo]:
    """Give the videos with their key sentences; the hash of their speech is then that of what is read of it.

    Raises:
        IntegrityError: the rows are of other videos.
    """
    if [video.doc_id for video in videos] != [row.doc_id for row in rows]:
        raise IntegrityError(f"{path}: holds sentences of other videos; run `mmsearch prepare` again")
    return [_with(video, row) for video, row in zip(videos, rows, strict=True)]


def _with(video: PreparedVideo, row: KeySentences) -> PreparedVideo:
    if row.text is None:
        return video
    return replace(video, key_sentences=row.text, hashes={**video.hashes, Modality.ASR: hash_of(row.text)})


def hash_of(text: str) -> str:
    """Give the hash of the speech of a video that is read by its key sentences."""
    return hash_bytes(b"key sentences 1", text.encode())


def content_key(shard_key: str, rows: Iterable[KeySentences]) -> str:
    """Give the content hash of a shard with its sentences; without any sentence that of the shard alone."""
    chosen = [f"{row.doc_id}\0{hash_of(row.text)}".encode() for row in rows if row.text is not None]
    return hash_bytes(shard_key.encode(), *chosen) if chosen else shard_key
