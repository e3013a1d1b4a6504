"""Ids and vectors of a generation as files that other programs load."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError, FingerprintError
from mmsearch.files import fsync_folder, replacing
from mmsearch.index.arrays import ArrayWriter
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.seal import write_file
from mmsearch.logs import progress
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Space

FloatName = Literal["float32", "float16"]
Int64 = npt.NDArray[np.int64]

_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: documents, how many of them have a vector in each space, and how many are damaged there."""

    num_docs: int
    num_vectors: dict[str, int] = field(default_factory=dict)
    num_damaged: dict[str, int] = field(default_factory=dict)


def export_parquet(
    index: ForwardIndex, path: Path, *, spaces: Sequence[str] | None = None, dtype: FloatName = "float32"
) -> Exported:
    """Write one Parquet file: `doc_id`, and a column of vectors for each space, null where a document has none.

    Vectors are fixed-size lists (codes one after another); the schema's metadata holds under `mmsearch` the generation
    and of each space its dimension, number of codes and fingerprint, as JSON. Documents stand in the order of their
    rows. The file appears whole or not at all. Memory: some thousand documents.

    Args:
        index: the forward index.
        path: the file to write.
        spaces: names of spaces; all when None.
        dtype: of the numbers in the file.

    Raises:
        DataError: there is no such space.
        FingerprintError: an upgrade is under way: there are vectors of two models.
        OSError: the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chosen = _choose(index, spaces)
    item = pa.float32() if dtype == "float32" else pa.float16()
    columns = [pa.field(space.name, pa.list_(item, space.row_dim)) for space in chosen]
    schema = pa.schema([pa.field("doc_id", pa.string(), nullable=False), *columns])
    schema = schema.with_metadata({"mmsearch": json.dumps(_told(index, chosen, dtype))})
    done = _none_yet(index, chosen)
    present = {space.name: index.present(space.name) for space in chosen}
    with replacing(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        for rows, doc_ids in _documents(index):
            arrays = [pa.array(doc_ids, pa.string())]
            for space in chosen:
                vectors, sound = _sound(index, space, rows, present[space.name], done)
                numbers = pa.array(vectors.astype(dtype).reshape(-1))
                lists = pa.FixedSizeListArray.from_arrays(numbers, space.row_dim, mask=pa.array(~sound))
                arrays.append(lists)
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return done


def export_npy(
    index: ForwardIndex, folder: Path, *, spaces: Sequence[str] | None = None, dtype: FloatName = "float32"
) -> Exported:
    """Write a folder: for each space `SPACE.npy` [N, M*D] and `SPACE.ids.txt`, the id of each row, one a line.

    Only documents that have a vector in the space are there, so each pair loads as it is. `index.json` holds what the
    metadata of `export_parquet` holds. The folder appears whole or not at all. Memory: some thousand documents.

    Args:
        index: the forward index.
        folder: the folder to write; it must not be there.
        spaces: names of spaces; all when None.
        dtype: of the numbers in the files.

    Raises:
        DataError: there is no such space, the folder is there, or an id holds a line end.
        FingerprintError: an upgrade is under way: there are vectors of two models.
        OSError: the disk refuses.
    """
    chosen = _choose(index, spaces)
    if folder.exists():
        raise DataError(f"{folder}: is there already; choose another folder")
    done = _none_yet(index, chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    beside.mkdir()
    try:
        for space in chosen:
            _write_space(index, space, beside, dtype, done)
        write_file(beside / "index.json", json.dumps(_told(index, chosen, dtype), indent=2).encode() + b"\n")
        fsync_folder(beside)
        beside.rename(folder)
        fsync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return done


def _write_space(index: ForwardIndex, space: Space, folder: Path, dtype: FloatName, done: Exported) -> None:
    numbers, present = ArrayWriter(folder / f"{space.name}.npy", dtype, (space.row_dim,)), index.present(space.name)
    try:
        with (folder / f"{space.name}.ids.txt").open("xb") as ids:
            for rows, doc_ids in _documents(index):
                vectors, sound = _sound(index, space, rows, present, done)
                numbers.append(vectors[sound])
                ids.writelines(_line(doc_ids[at]) for at in np.flatnonzero(sound))
            ids.flush()
            os.fsync(ids.fileno())
        numbers.close()
    finally:
        numbers.abandon()


def _line(doc_id: str) -> bytes:
    if "\n" in doc_id or "\r" in doc_id:
        raise DataError(f"doc_id {doc_id!r} holds a line end, which a list of ids cannot; export Parquet")
    return doc_id.encode() + b"\n"


def _documents(index: ForwardIndex) -> Iterator[tuple[Int64, list[str]]]:
    """Give the live documents: rows and ids, some thousand at a time."""
    live = np.flatnonzero(index.live())
    with progress("export", len(live), unit="videos") as bar:
        for start in range(0, len(live), _ROWS):
            rows = live[start : start + _ROWS]
            yield rows, [index.doc_ids[row] for row in rows.tolist()]
            bar.advance(len(rows))


def _sound(index: ForwardIndex, space: Space, rows: Int64, present: Bool, done: Exported) -> tuple[Float32, Bool]:
    """Give vectors, and which of them may be used; count them, and those that should be there and are damaged."""
    vectors, there = index.vectors(space.name, rows)
    sound = there & np.isfinite(vectors).all(axis=1)
    done.num_vectors[space.name] += int(np.count_nonzero(sound))
    done.num_damaged[space.name] += int(np.count_nonzero(present[rows] & ~sound))
    return vectors, sound


def _told(index: ForwardIndex, spaces: Sequence[Space], dtype: str) -> dict[str, Any]:
    told = [
        {"name": s.name, "dim": s.dim, "num_codes": s.num_codes, "fingerprint": s.fingerprint, "dtype": dtype}
        for s in spaces
    ]
    return {"generation": index.generation, "num_docs": index.num_docs, "spaces": told}


def _choose(index: ForwardIndex, names: Sequence[str] | None) -> list[Space]:
    if len(index.versions) > 1:
        raise FingerprintError(
            f"{index.generation} holds vectors of two models while an upgrade is under way, which do not belong into "
            f"one file; export its base {index.base}, or wait until the upgrade is done"
        )
    spaces = {space.name: space for space in index.spaces}
    if unknown := [name for name in names or () if name not in spaces]:
        raise DataError(f"there is no space '{unknown[0]}' in {index.generation}; there are: {', '.join(spaces)}")
    return [spaces[name] for name in (names or spaces)]


def _none_yet(index: ForwardIndex, spaces: Sequence[Space]) -> Exported:
    names = [space.name for space in spaces]
    return Exported(index.num_docs, dict.fromkeys(names, 0), dict.fromkeys(names, 0))
