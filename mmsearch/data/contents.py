"""Content hashes of videos as numbers: what a refresh compares, a column at a time.

A hash of a modality is the first 64 bits of the one that prepare made, as a number; 0 = the video lacks the modality.
Two versions of the same video are compared with each other, never all videos with all: 64 bits are plenty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from mmsearch.data.key_sentences import hash_of, open_key_sentences
from mmsearch.data.shards import open_shard
from mmsearch.errors import IntegrityError
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality

UInt64 = npt.NDArray[np.uint64]

#: Columns of content hashes: one for each `Modality`, and one that is free (0).
NUM_CONTENTS = 8

_HEX = np.full(256, 255, np.uint8)
_HEX[[ord(digit) for digit in "0123456789abcdef"]] = np.arange(16, dtype=np.uint8)
_PLAIN = re.compile(rb"[0-9a-f]{16}.{16}", re.DOTALL)
_COLUMNS = {modality: f"hash_{modality.value}" for modality in Modality}
_SPEECH = list(Modality).index(Modality.ASR)


def contents_of(videos: Sequence[PreparedVideo]) -> UInt64:
    """Give the content hashes of videos, [B, 8], in the order of `Modality`."""
    contents = np.zeros((len(videos), NUM_CONTENTS), np.uint64)
    for row, video in enumerate(videos):
        contents[row, : len(Modality)] = [_number(video.hashes.get(modality)) for modality in Modality]
    return contents


def read_contents(shard: Path, sentences: Path | None) -> tuple[list[str], UInt64]:
    """Read the ids and content hashes of a whole shard, [rows, 8], past its texts and pictures.

    Args:
        shard: its file.
        sentences: its file of key sentences, which then stand for the speech of a video; None = there is none.

    Raises:
        IntegrityError: a checksum does not hold, or the sentences are of other videos.
    """
    with open_shard(shard) as file:
        table = _read(file, ["doc_id", *_COLUMNS.values()], shard)
    doc_ids: list[str] = table.column("doc_id").to_pylist()
    contents = np.zeros((len(doc_ids), NUM_CONTENTS), np.uint64)
    for at, name in enumerate(_COLUMNS.values()):
        contents[:, at] = _numbers(table.column(name))
    if sentences is None:
        return doc_ids, contents
    with open_key_sentences(sentences) as file:
        table = _read(file, ["doc_id", "key_sentences"], sentences)
    if table.column("doc_id").to_pylist() != doc_ids:
        raise IntegrityError(f"{sentences}: holds sentences of other videos; run `mmsearch prepare` again")
    texts = table.column("key_sentences").to_pylist()
    chosen = [place for place, text in enumerate(texts) if text is not None]
    contents[chosen, _SPEECH] = _of_array(pa.array([hash_of(texts[place]) for place in chosen], pa.string()))
    return doc_ids, contents


def _read(file: Any, columns: Sequence[str], path: Path) -> Any:
    try:
        return file.read(columns=columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: {error}; run `mmsearch prepare` again") from error


def _numbers(column: Any) -> UInt64:
    return np.concatenate([np.empty(0, np.uint64), *(_of_array(chunk) for chunk in column.chunks)])


def _of_array(hashes: Any) -> UInt64:
    """Give the numbers of an Arrow array of hexadecimal digits, all at once."""
    _, offsets, data = hashes.buffers()
    ends = np.frombuffer(offsets, np.int32)[hashes.offset : hashes.offset + len(hashes) + 1]
    there = np.diff(ends) > 0
    numbers = np.zeros(len(hashes), np.uint64)
    if not there.any():
        return numbers
    if not (np.diff(ends)[there] == 32).all():
        return _slowly(hashes.to_pylist())
    digits = _HEX[np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].reshape(-1, 32)[:, :16]]
    if (digits == 255).any():
        return _slowly(hashes.to_pylist())
    numbers[there] = np.maximum((digits[:, ::2] << 4 | digits[:, 1::2]).view(">u8")[:, 0], 1)
    return numbers


def _slowly(hashes: Iterable[str | None]) -> UInt64:
    return np.array([_number(value) for value in hashes], np.uint64)


def _number(value: str | None) -> int:
    if value is None:
        return 0
    plain = _PLAIN.fullmatch(value.encode())
    return max(int(value[:16], 16) if plain else xxhash.xxh3_64_intdigest(value.encode()), 1)
