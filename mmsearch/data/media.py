"""Limits on untrusted media, and what is checked before a file is opened."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.errors import MediaError


class MediaLimits(Settings):
    """What one picture, video or transcript may cost; beyond it is rejected, from its header where that tells."""

    max_video_bytes: int = Field(4 << 30, gt=0)
    """Size of a video file."""
    max_image_bytes: int = Field(64 << 20, gt=0)
    """Size of a picture file."""
    max_transcript_bytes: int = Field(4 << 20, gt=0)
    """Size of a transcript file."""
    max_video_pixels: int = Field(4096 * 2304, gt=0)
    """Width times height of a video."""
    max_image_pixels: int = Field(64_000_000, gt=0)
    """Width times height of a picture."""
    max_duration_s: float = Field(4 * 3600.0, gt=0)
    """Length of a video."""
    max_cpu_s: float = Field(60.0, gt=0)
    """Processor seconds for one video."""
    max_wall_s: float = Field(180.0, gt=0)
    """Seconds for one video with its pictures, after which its worker is ended (a disk that hangs, a decoder's bug)."""
    max_memory_bytes: int = Field(2 << 30, ge=256 << 20)
    """Private memory of one worker process."""


def local_path(path: str) -> str:
    """Give the path that a `file:///` URI names (its %XX are characters); any other text as it is."""
    return unquote(path.removeprefix("file://")) if path.startswith("file:///") else path


def check_file(path: str, max_bytes: int) -> Path:
    """Give the path of a local, regular, non-empty file of at most `max_bytes`.

    Raises:
        MediaError: `remote` (a URI: files are never fetched), `missing_file`, `not_a_file`, `unreadable_file`,
            `empty_file` or `too_many_bytes`.
    """
    if "://" in path and not path.startswith("file:///"):
        raise MediaError("remote", f"{path}: only local files are read; download it first")
    path = local_path(path)
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("missing_file", f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise MediaError("unreadable_file", f"{path}: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("not_a_file", f"{path}: a folder or special file")
    if status.st_size == 0:
        raise MediaError("empty_file", f"{path}: 0 bytes")
    if status.st_size > max_bytes:
        raise MediaError("too_many_bytes", f"{path}: {status.st_size:,} bytes, the limit is {max_bytes:,}")
    return Path(path)


def read_head(path: Path, count: int = 1024) -> bytes:
    """Give the first bytes of a file.

    Raises:
        MediaError: `unreadable_file`.
    """
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise MediaError("unreadable_file", f"{path}: {error.strerror}") from error
