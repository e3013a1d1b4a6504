"""The Parquet files of a prepared corpus: one row a video, pictures as JPEG bytes, a checksum on every page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mmsearch.errors import IntegrityError
from mmsearch.files import hash_bytes
from mmsearch.protocols import PreparedVideo
from mmsearch.types import TEXTS, Modality

_PICTURES = ("cover", "frames.list.element")
SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        *(pa.field(m.value, pa.string()) for m in TEXTS),
        pa.field("cover", pa.binary()),
        pa.field("frames", pa.list_(pa.field("element", pa.binary(), nullable=False))),
        *(pa.field(f"hash_{m.value}", pa.string()) for m in Modality),
    ]
)


class ShardWriter:
    """Writes prepared videos to one Parquet file, a row group at a time. The same videos give the same bytes.

    Args:
        path: the file; written in place (give it a temporary name, see `mmsearch.files.replacing`).
        row_group_size: videos of a row group.
    """

    def __init__(self, path: Path, row_group_size: int) -> None:
        compression = {column: "NONE" if column in _PICTURES else "ZSTD" for column in _leaves()}
        self._writer = pq.ParquetWriter(
            path, SCHEMA, compression=compression, use_dictionary=False, write_page_checksum=True, version="2.6"
        )
        self._size, self._waiting = row_group_size, list[PreparedVideo]()
        self._hashes: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, video: PreparedVideo) -> None:
        """Add a video; full row groups go to the file."""
        self._waiting.append(video)
        self._hashes.append(video_key(video))
        if len(self._waiting) == self._size:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a row group; call it after the last video."""
        if self._waiting:
            rows = [_to_row(video) for video in self._waiting]
            self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), row_group_size=self._size)
            self._waiting = []

    @property
    def rows(self) -> int:
        """Videos added so far."""
        return len(self._hashes)

    @property
    def key(self) -> str:
        """Content hash of the videos added so far: their ids and the hashes of their modalities, in order."""
        return hash_bytes(*self._hashes)


def video_key(video: PreparedVideo) -> bytes:
    """Give a hash of a video's id and modalities."""
    hashes = (f"{m.value}={video.hashes[m]}".encode() for m in Modality if m in video.hashes)
    return hash_bytes(video.doc_id.encode(), *hashes).encode()


def open_shard(path: Path) -> Any:
    """Open a shard for reading row groups (page checksums are verified).

    Raises:
        IntegrityError: the file is missing, is no Parquet, or holds other columns.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name in the footer is no UTF-8
        raise IntegrityError(f"{path}: cannot be opened: {error}; run `mmsearch prepare` again") from error
    if not file.schema_arrow.equals(SCHEMA):
        raise IntegrityError(f"{path}: its columns are not those of a prepared corpus; run `mmsearch prepare` again")
    return file


def read_row_group(file: Any, number: int, path: Path) -> list[PreparedVideo]:
    """Read the videos of a row group.

    Raises:
        IntegrityError: a checksum does not hold.
    """
    return [_from_row(row) for row in _read(file, number, None, path).to_pylist()]


def read_doc_ids(file: Any, path: Path) -> list[str]:
    """Read the ids of all videos of a shard, in row order."""
    groups = (_read(file, number, ["doc_id"], path) for number in range(file.num_row_groups))
    return [doc_id for table in groups for doc_id in table.column("doc_id").to_pylist()]


def read_texts(
    file: Any, number: int, modalities: Sequence[Modality], path: Path
) -> list[tuple[str, *tuple[str | None, ...]]]:
    """Read the ids and some texts of a row group, without its pictures.

    Raises:
        IntegrityError: a checksum does not hold.
    """
    names = ["doc_id", *(modality.value for modality in modalities)]
    table = _read(file, number, names, path)
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def _read(file: Any, number: int, columns: Sequence[str] | None, path: Path) -> Any:
    try:  # one thread: this runs in the data loader's processes too
        return file.read_row_group(number, columns=columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name in the footer is no UTF-8
        raise IntegrityError(f"{path}: row group {number}: {error}; run `mmsearch prepare` again") from error


def _leaves() -> list[str]:
    return ["frames.list.element" if name == "frames" else name for name in SCHEMA.names]


def _to_row(video: PreparedVideo) -> dict[str, Any]:
    return {
        "doc_id": video.doc_id,
        **{m.value: text for m, text in video.texts.items()},
        "cover": video.cover,
        "frames": list(video.frames) or None,
        **{f"hash_{m.value}": value for m, value in video.hashes.items()},
    }


def _from_row(row: dict[str, Any]) -> PreparedVideo:
    return PreparedVideo(
        doc_id=row["doc_id"],
        texts={m: text for m in TEXTS if (text := row[m.value]) is not None},
        cover=row["cover"],
        frames=tuple(row["frames"] or ()),
        hashes={m: value for m in Modality if (value := row[f"hash_{m.value}"]) is not None},
    )
