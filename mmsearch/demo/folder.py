"""The folder of a demo world: whose it is, who writes in it, and which of its files are whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsearch.errors import DataError
from mmsearch.files import fsync_folder, read_json, sole_writer, write_json

#: Stands when the world is complete; before that it has the other name.
CARD, UNFINISHED_CARD = "world.json", ".world.json.unfinished"

#: What `mmsearch.files.replacing` leaves when its process is killed.
_STRAY = re.compile(r"^\..+\.[0-9a-f]{32}\.tmp$")


@contextmanager
def claimed(out: Path, card: dict[str, Any]) -> Iterator[None]:
    """Hold a folder for one world while the block writes it; when the block ends well, the world is complete.

    Args:
        out: the folder; it is made when absent.
        card: what the world is. A folder with an equal card (of a run that was killed, or of a complete one) is
            gone on with.

    Raises:
        DataError: the folder is not empty and is not a demo world, is a demo world with another card, or another
            process writes in it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made: {error.strerror}; choose another folder with --out") from error
    with sole_writer(out):
        _check_owner(out, card)
        for folder in (out, out / "covers", out / "video"):
            folder.mkdir(exist_ok=True)
            for entry in folder.iterdir():
                if _STRAY.match(entry.name):
                    entry.unlink()
        if not (out / CARD).exists():
            write_json(out / UNFINISHED_CARD, card)
        yield
        if (out / UNFINISHED_CARD).exists():
            os.replace(out / UNFINISHED_CARD, out / CARD)
            fsync_folder(out)


def _check_owner(out: Path, card: dict[str, Any]) -> None:
    found = next((out / name for name in (CARD, UNFINISHED_CARD) if (out / name).exists()), None)
    if found is None:
        foreign = sorted(entry.name for entry in out.iterdir() if not _STRAY.match(entry.name))
        if foreign:
            raise DataError(
                f"{out}: the folder is not empty (it holds {foreign[0]!r}) and is not a demo world; "
                "give a new folder with --out"
            )
    elif read_json(found) != card:
        raise DataError(
            f"{found}: another demo world is here, with other settings or of another version; "
            "give a new folder with --out, or delete this one"
        )


def is_whole(path: Path) -> bool:
    """Tell whether a JPEG ends with its end marker, or whether the boxes of an MP4 fill it and `moov` is one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    if path.suffix == ".jpg":
        return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    boxes, at = set(), 0
    while at + 8 <= len(data):
        boxes.add(data[at + 4 : at + 8])
        at += max(8, int.from_bytes(data[at : at + 4], "big"))
    return at == len(data) and b"moov" in boxes
