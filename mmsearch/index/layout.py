"""Where things lie in an index folder, and which generation is served.

    INDEX/CURRENT                        one line: the name of the generation that is served
    INDEX/.lock                          held (flock) by the one live writer; holds its process id
    INDEX/.refresh.lock                  held likewise by the one live refresh, from its plan to its end
    INDEX/generations/g000001-<16 hex>/  a whole, immutable generation
    INDEX/generations/.<hex>.writing/    one that is being written; a crash leaves it, the next writer removes it
    INDEX/generations/.<hex>.removing/   one that is being removed; likewise
    INDEX/ann/g000001-<16 hex>/          faiss indexes that were built from it, and go with it

The 16 hex digits are the xxh3-64 of the generation's `manifest.json`, and the manifest holds the checksum of every
other file: so the line in CURRENT pins each byte that is served. An *overlay* holds changed documents alone; its
manifest names the whole generation that it lies over (its base), and so pins that too.

Between its last rename and the swap of CURRENT a generation holds an empty file `unserved`: one that keeps it was never
served, and the next writer removes it. Readers hold a shared flock on `manifest.json` for their life.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.files import write_bytes

#: Version of what lies on the disk. A reader refuses greater ones. 2: a space may hold several vectors of a document.
#: 3: bytes with scales, checksums of blocks, content hashes, overlays.
FORMAT_VERSION = 3

MANIFEST = "manifest.json"
QUERY_TOWER = "query_tower"
#: A hash of each modality of every document; absent when the writer was given none.
CONTENTS = "contents.npy"
#: Overlays only: which of their rows are tombstones, and which rows of the base their documents replace (none: absent).
DELETED = "deleted.npy"
SUPERSEDED = "superseded.npy"
UNSERVED = "unserved"

_NAME = re.compile(r"g([0-9]{6,12})-([0-9a-f]{16})")


def generations_of(index_dir: Path) -> Path:
    """Give the folder that holds the generations."""
    return index_dir / "generations"


def ann_of(index_dir: Path) -> Path:
    """Give the folder of the faiss indexes, in folders named as the generations that they were built from."""
    return index_dir / "ann"


def lock_of(index_dir: Path) -> Path:
    """Give the file that the one live writer holds locked."""
    return index_dir / ".lock"


def generation_name(number: int, manifest_hash: str) -> str:
    """Give the name of a generation: its running number and the hash of its manifest."""
    return f"g{number:06d}-{manifest_hash}"


def split_name(name: str) -> tuple[int, str] | None:
    """Give a generation's number and manifest hash; None when the text is not the name of a generation."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), match[2])


def read_current(index_dir: Path) -> str:
    """Give the name of the generation that is served.

    Raises:
        DataError: nothing was published here yet, or the system refuses to read.
        CorruptIndexError: CURRENT does not hold the name of a generation.
    """
    path = index_dir / "CURRENT"
    try:
        with path.open("rb") as file:
            line = file.read(64)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{index_dir}: no index here (there is no file CURRENT); publish one first") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; mend that and try again") from error
    name = line.decode("ascii", "replace")
    if not name.endswith("\n") or split_name(name[:-1]) is None:
        raise CorruptIndexError(f"{path}: holds {line!r} instead of the name of a generation; publish again")
    return name[:-1]


def write_current(index_dir: Path, name: str) -> None:
    """Let a generation be served from now on, atomically and durably."""
    write_bytes(index_dir / "CURRENT", f"{name}\n".encode())


def ids_files() -> tuple[str, str, str, str]:
    """Give the files of the document ids: text, offsets into it, sorted hashes, and the row of each hash."""
    return "ids.text.npy", "ids.offsets.npy", "ids.hashes.npy", "ids.rows.npy"


def vectors_file(space: str) -> str:
    """Give the file of a space's vectors."""
    return f"vectors.{space}.npy"


def present_file(space: str) -> str:
    """Give the file that tells which documents have a vector in a space."""
    return f"present.{space}.npy"


def scales_file(space: str) -> str:
    """Give the file of a space's scales (int8 alone): a number for each code."""
    return f"scales.{space}.npy"


def blocks_file(space: str) -> str:
    """Give the file of the checksums of a space's blocks."""
    return f"blocks.{space}.npy"
