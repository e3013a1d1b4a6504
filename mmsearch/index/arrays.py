"""Arrays on disk: plain .npy files, appended to while they are written, memory-mapped when read."""

from __future__ import annotations

import io
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from mmsearch.errors import CorruptIndexError
from mmsearch.index.manifest import StoredFile

_CHUNK = 1 << 20


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


class ArrayWriter:
    """Append rows to a .npy file whose length is not known beforehand, in the memory of one block.

    numpy pads the header so that the first axis can grow in place; `close` writes the final one.

    Args:
        path: a file that does not exist yet.
        dtype: what is stored (little-endian).
        row_shape: shape of a row; () for a vector of numbers.
    """

    def __init__(self, path: Path, dtype: str, row_shape: tuple[int, ...] = ()) -> None:
        self.path, self.num_rows = path, 0
        self._dtype, self._row_shape = np.dtype(dtype).newbyteorder("<"), row_shape
        self._digest = xxhash.xxh3_128()
        self._header_size = len(_header(self._dtype, (0, *row_shape)))
        self._file = path.open("xb")
        self._file.write(bytes(self._header_size))

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows at the end."""
        block = np.ascontiguousarray(rows, dtype=self._dtype)
        raw = block.reshape(-1).view(np.uint8).data
        self._digest.update(raw)
        self._file.write(raw)
        self.num_rows += len(block)

    def abandon(self) -> None:
        """Let go of the file; what is in it does not matter any more."""
        with suppress(OSError):  # a disk that is full refuses what is still in the buffer
            self._file.close()

    def close(self) -> StoredFile:
        """Finish the header, bring everything to the disk, read it back and give its size and checksum.

        Raises:
            CorruptIndexError: the bytes read back are not those that were appended.
        """
        header = _header(self._dtype, (self.num_rows, *self._row_shape))
        if len(header) != self._header_size:
            raise CorruptIndexError(f"{self.path}: this numpy gives .npy headers of no fixed size")
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._read_back(header)

    def _read_back(self, header: bytes) -> StoredFile:
        whole, payload, size = xxhash.xxh3_128(header), xxhash.xxh3_128(), len(header)
        with self.path.open("rb") as file:
            same_header = file.read(len(header)) == header
            while chunk := file.read(_CHUNK):
                whole.update(chunk)
                payload.update(chunk)
                size += len(chunk)
        if not same_header or payload.digest() != self._digest.digest():
            raise CorruptIndexError(f"{self.path}: what was read back is not what was written; check the disk")
        return StoredFile(bytes=size, xxh3=whole.hexdigest())


def open_array(path: Path, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Memory-map a .npy file that must hold exactly this; the pages are shared by processes, the array is read-only.

    Raises:
        CorruptIndexError: the header is damaged or tells of another array, or the size does not fit it.
    """
    expected = np.dtype(dtype).newbyteorder("<")
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            found_shape, fortran_order, found = read(file)
            offset = file.tell()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except Exception as error:  # a damaged header makes numpy's parser raise anything from TypeError to TokenError
        raise CorruptIndexError(f"{path}: not a readable .npy file ({error}); publish again") from error
    if (found_shape, fortran_order) != (shape, False) or found.str != expected.str:
        raise CorruptIndexError(
            f"{path}: holds {found.str} {list(found_shape)} instead of {expected.str} {list(shape)}; publish again"
        )
    if len(mapped) != offset + expected.itemsize * int(np.prod(shape)):
        raise CorruptIndexError(f"{path}: {len(mapped)} bytes do not fit its header; publish again")
    return np.frombuffer(mapped, dtype=expected, offset=offset).reshape(shape)


def read_through(*arrays: npt.NDArray[Any]) -> None:
    """Read memory-mapped arrays in order, so that they are in memory and in the tables of this process."""
    for array in arrays:
        raw = array.reshape(-1).view(np.uint8)
        digest = xxhash.xxh3_64()  # the quickest way to touch every byte
        for start in range(0, len(raw), _CHUNK):
            digest.update(raw[start : start + _CHUNK].data)
