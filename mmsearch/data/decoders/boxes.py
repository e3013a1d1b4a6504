"""The outermost boxes of an MP4 or QuickTime file (ISO/IEC 14496-12, 4.2): is all of it there?"""

from __future__ import annotations

from pathlib import Path

from mmsearch.errors import MediaError

_MAX_BOXES = 100_000


def check_boxes(path: Path) -> None:
    """Refuse a file that ends inside a box: what FFmpeg makes of it looks whole and is not.

    Bytes after the last box that are no box are left to the demuxer. A file without its index (`moov`) is one whose
    writing was never finished.

    Raises:
        MediaError: `truncated`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        at, names = 0, set[bytes]()
        for _ in range(_MAX_BOXES):
            file.seek(at)
            head = file.read(16)
            if not head and b"moov" not in names:
                raise MediaError("truncated", f"{path}: there is no box 'moov': the end of the file is missing")
            if len(head) < 8 or not head[4:8].isalnum():
                return
            names.add(head[4:8])
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:16])
            if length == 0:  # up to the end of the file
                return
            if at + length > size:
                name = head[4:8].decode("latin-1")
                raise MediaError("truncated", f"{path}: {at + length - size:,} bytes are missing from box '{name}'")
            at += max(length, 8)
