"""What a disk refuses, told as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsearch.errors import DataError


@contextmanager
def explaining(index_dir: Path) -> Iterator[None]:
    """Tell what the system refuses while an index is changed in the block.

    Raises:
        DataError: naming the index, the reason and the file.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{index_dir}: writing failed: {error.strerror or error} ({error.filename or 'no file named'}); "
            "a generation that was served before is untouched: make room or mend the disk, and try again"
        ) from error
