"""Opening an untrusted video with PyAV: one demuxer, local files only, limits checked in the header."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsearch.data.decoders.boxes import check_boxes
from mmsearch.data.media import MediaLimits, check_file, read_head
from mmsearch.data.sniff import IMAGE, PLAYLIST, sniff
from mmsearch.errors import MediaError
from mmsearch.extras import require


class Clock:
    """Processor seconds of this process, with a limit."""

    def __init__(self, max_cpu_s: float) -> None:
        self._end, self._max = time.process_time() + max_cpu_s, max_cpu_s

    def check(self) -> None:
        """Raise `MediaError` (`too_slow`) when the limit is spent."""
        if time.process_time() > self._end:
            raise MediaError("too_slow", f"more than {self._max:g} processor seconds")


def find_demuxer(path: str, limits: MediaLimits) -> tuple[Path, str]:
    """Give the local file and FFmpeg's name of its container, by its content.

    Raises:
        MediaError: those of `check_file`; `playlist`, `not_a_video`, `truncated`.
    """
    file = check_file(path, limits.max_video_bytes)
    demuxer = sniff(read_head(file))
    if demuxer == PLAYLIST:
        raise MediaError("playlist", f"{path}: a playlist or other text that names media")
    if demuxer is None or demuxer == IMAGE:
        raise MediaError("not_a_video", f"{path}: {'a picture' if demuxer else 'the format is not known'}")
    if demuxer == "mov":
        check_boxes(file)
    return file, demuxer


@contextmanager
def open_container(path: Path, demuxer: str) -> Iterator[Any]:
    """Open a local file by one demuxer.

    Raises:
        MediaError: `damaged`, for whatever FFmpeg raises, also inside the `with` block.
        MemoryError: a damaged file asks for absurd amounts, or the memory is really spent.
    """
    av = require("av", extra="video")
    av.logging.set_level(av.logging.PANIC)  # what is wrong comes as exceptions and flags
    options = {"protocol_whitelist": "file", "format_whitelist": demuxer}
    try:
        with av.open(f"file:{path.resolve()}", format=demuxer, options=options, metadata_errors="replace") as container:
            yield container
    except (MediaError, MemoryError, TypeError, AttributeError):  # the latter two: another PyAV than we know
        raise
    except Exception as error:  # PyAV raises FFmpegError, and also IndexError, ValueError, UnicodeDecodeError, …
        raise MediaError("damaged", f"{path}: {type(error).__name__}: {error}") from error


@contextmanager
def open_video(path: Path, demuxer: str, limits: MediaLimits) -> Iterator[tuple[Any, Any]]:
    """Open a local file by one demuxer; give the container and its first video stream, checked against the limits.

    Raises:
        MediaError: `no_video_stream`, `unknown_codec`, `too_many_pixels`, `too_long`, and those of `open_container`.
        MemoryError: see `open_container`.
    """
    with open_container(path, demuxer) as container:
        stream = _first_video(path, container)
        _check_header(path, container, stream, limits)
        # For sizes that change within the stream; the decoder counts whole blocks, hence twice.
        stream.codec_context.options = {"max_pixels": str(2 * limits.max_video_pixels)}
        stream.codec_context.thread_count = 1
        yield container, stream


def _first_video(path: Path, container: Any) -> Any:
    for stream in container.streams.video:
        if stream.disposition & stream.disposition.attached_pic:  # the cover of a song
            continue
        if stream.codec_context is None:
            raise MediaError("unknown_codec", f"{path}: FFmpeg knows no decoder for its video stream")
        return stream
    raise MediaError("no_video_stream", f"{path}: it holds no video")


def _check_header(path: Path, container: Any, stream: Any, limits: MediaLimits) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.max_video_pixels:
        raise MediaError("too_many_pixels", f"{path}: {width} x {height}, the limit is {limits.max_video_pixels:,}")
    lengths = [container.duration / 1e6] if container.duration else []
    lengths += [float(stream.duration * stream.time_base)] if stream.duration else []
    check_length(path, max(lengths, default=0.0), limits)


def check_length(path: Path, seconds: float, limits: MediaLimits) -> None:
    """Raise `MediaError` (`too_long`) for a video of so many seconds."""
    if seconds > limits.max_duration_s:
        raise MediaError("too_long", f"{path}: {seconds:,.0f} s, the limit is {limits.max_duration_s:,.0f} s")
