"""Videos and pictures whose pixels tell their frame number: ten bars, white = 1, in binary."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

BITS = 10
WIDTH, HEIGHT = 160, 96


def numbered_picture(number: int) -> np.ndarray:
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    picture[:20] = (200, 30, 30)  # red: the top
    for bit in range(BITS):
        picture[20:76, 16 * bit : 16 * bit + 16] = 230 if number >> bit & 1 else 20
    return picture


def number_of(picture: np.ndarray) -> int:
    """Read the number back, at any size."""
    grey = np.asarray(picture).mean(-1)
    height, width = grey.shape
    rows = grey[int(height * 0.3) : int(height * 0.7)]
    bars = [rows[:, int(width * (b + 0.3) / BITS) : int(width * (b + 0.7) / BITS)].mean() for b in range(BITS)]
    return sum(int(bar > 125) << b for b, bar in enumerate(bars))


def write_video(
    path: Path,
    num_frames: int = 75,
    *,
    codec: str = "libx264",
    container: str | None = None,
    times_ms: Sequence[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixel_format: str = "yuv420p",
    b_frames: int = 2,
    key_every: int = 12,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames 0, 1, … at 25 a second, or at the given times."""
    base = Fraction(1, 1000 if times_ms else 25)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base, stream.codec_context.gop_size = base, key_every
        if codec.startswith(("libx26", "mpeg")):
            stream.codec_context.max_b_frames = b_frames
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")
            frame.pts, frame.time_base = (times_ms[number] if times_ms else number), base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    if codec == "libsvtav1" and hasattr(os, "sched_setscheduler"):
        # SVT-AV1 makes the calling thread of a root user a real-time one (FIFO, 99), and leaves it so: it and every
        # process that it starts later would starve the whole machine.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


def turn(path: Path, clockwise: int) -> None:
    """Set the rotation in the header of an MP4 (the matrix of `tkhd`, ISO/IEC 14496-12, 8.3.2)."""
    matrix = {90: (0, 1 << 16, 0, -1 << 16, 0), 180: (-1 << 16, 0, 0, 0, -1 << 16), 270: (0, -1 << 16, 0, 1 << 16, 0)}
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *matrix[clockwise], 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def cut_by_edit_list(path: Path, first: int, count: int) -> None:
    """Show only `count` frames of an MP4 from number `first`, by its edit list (ISO/IEC 14496-12, 8.6.6)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    scale_at = data.index(b"mdhd") + 16
    (scale,) = struct.unpack(">I", data[scale_at : scale_at + 4])
    (start,) = struct.unpack(">i", data[at + 4 : at + 8])
    data[at : at + 8] = struct.pack(">Ii", count * 1000 // 25, start + first * scale // 25)
    path.write_bytes(data)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    return number_of


@pytest.fixture(scope="session")
def rotate() -> Callable[[Path, int], None]:
    return turn


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, int, int], None]:
    return cut_by_edit_list


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., Path]:
    def write(path: Path, number: int = 0, **options: object) -> Path:
        Image.fromarray(numbered_picture(number)).save(path, **options)
        return path

    return write
