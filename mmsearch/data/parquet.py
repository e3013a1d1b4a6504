"""Rows of a Parquet file, through Arrow, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsearch.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

#: Small, since each row may hold megabytes of text.
ROWS_PER_BATCH = 256


def parquet_rows(
    path: Path, known: frozenset[str], check_header: Callable[[int | None, list[str]], None]
) -> Iterator[tuple[int, dict[str, object]]]:
    """Give the rows of a Parquet file with their numbers, counted from 1. Only the `known` columns are read.

    Raises:
        TableError: it is no Parquet file, or a page of it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            header = list(file.schema_arrow.names)
            check_header(None, header)
            columns = [name for name in header if name in known]
            for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, columns=columns, use_threads=False):
                for cells in batch_rows(batch):
                    number += 1
                    yield number, cells
    except (pa.ArrowException, OSError) as error:
        after = f"{path} (after row {number})" if number else path
        raise TableError(after, None, None, f"cannot be read as Parquet: {error}; write the file again") from error


def batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """Give the rows of an Arrow batch as Python values; texts that are not UTF-8 come as bytes."""
    columns = [_values(batch.column(i)) for i in range(batch.num_columns)]
    names = batch.schema.names
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def _values(column: Any) -> list[object]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's datetime ends at microseconds
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_cell(scalar) for scalar in column]
    return values


def _cell(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes() if hasattr(scalar, "as_buffer") else b"\xff"
