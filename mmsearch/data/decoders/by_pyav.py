"""PyAV (FFmpeg): right on every container that we tried, and the reference for the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmsearch.data.decoders.container import Clock, open_video
from mmsearch.data.decoders.index import Int64, VideoIndex
from mmsearch.data.images import UInt8
from mmsearch.data.media import MediaLimits
from mmsearch.errors import MediaError

#: Where seeking lands on the key frame that was asked for; other containers are read from the start.
_SEEKABLE = ("mov", "matroska")


def decode(index: VideoIndex, wanted: Int64, limits: MediaLimits) -> list[UInt8]:
    """Give some frames of a video, as they are to be seen (turned by the container's rotation).

    Args:
        index: the video's frame index.
        wanted: numbers of frames in the index, ascending; repeated numbers share one array.
        limits: bounds.

    Raises:
        MediaError: `damaged`, `too_slow`, `too_many_pixels`.
    """
    with open_video(index.path, index.demuxer, limits) as (container, stream):
        if not index.timed:
            return _by_number(container, stream, wanted, limits)
        picker = _Picker(container, stream, index, limits)
        if index.demuxer in _SEEKABLE:
            picked = picker.seeking(wanted)
            if picked is not None:
                return picked
            container.seek(0, stream=stream, backward=True)  # seeking did not land where it should: read it all
        return picker.reading(wanted)


def is_turned(index: VideoIndex, limits: MediaLimits) -> bool:
    """Tell whether the container says that the pictures must be turned; decodes one frame."""
    with open_video(index.path, index.demuxer, limits) as (container, stream):
        return any(frame.rotation for frame in itertools.islice(container.decode(stream), 1))


class _Picker:
    """Finds frames by their timestamps."""

    def __init__(self, container: Any, stream: Any, index: VideoIndex, limits: MediaLimits) -> None:
        self._container, self._stream, self._index, self._limits = container, stream, index, limits
        self._clock = Clock(limits.max_cpu_s)

    def seeking(self, wanted: Int64) -> list[UInt8] | None:
        """Jump to the last key frame before each wanted frame, unless decoding is already beyond it.

        None = a wanted timestamp did not come.
        """
        keys, picked = self._index.keys, dict[int, UInt8]()
        position: int | None = None
        frames: Iterator[Any] = iter(())
        for pts in np.unique(self._index.pts[wanted]).tolist():
            key = int(keys[max(0, np.searchsorted(keys, pts, side="right") - 1)])
            if position is None or key > position:
                self._container.seek(key, stream=self._stream, backward=True)
                frames = self._decode()
            frame = next((f for f in frames if f.pts is not None and f.pts >= pts), None)
            if frame is None or frame.pts != pts:
                return None
            position, picked[pts] = pts, to_rgb(frame, self._limits)
        return [picked[int(pts)] for pts in self._index.pts[wanted]]

    def reading(self, wanted: Int64) -> list[UInt8]:
        """Decode from the start up to the last wanted frame."""
        left, picked = set(self._index.pts[wanted].tolist()), dict[int, UInt8]()
        for frame in self._decode():
            if frame.pts in left:
                left.remove(frame.pts)
                picked[frame.pts] = to_rgb(frame, self._limits)
            if not left:
                return [picked[int(pts)] for pts in self._index.pts[wanted]]
        raise MediaError("damaged", f"{self._index.path}: {len(left)} of the wanted frames cannot be decoded")

    def _decode(self) -> Iterator[Any]:
        for frame in self._container.decode(self._stream):
            self._clock.check()
            yield frame


def _by_number(container: Any, stream: Any, wanted: Int64, limits: MediaLimits) -> list[UInt8]:
    """Count frames where there are no timestamps."""
    clock, picked = Clock(limits.max_cpu_s), dict[int, UInt8]()
    numbers = set(wanted.tolist())
    for number, frame in enumerate(container.decode(stream)):
        clock.check()
        if number in numbers:
            picked[number] = to_rgb(frame, limits)
        if len(picked) == len(numbers):
            return [picked[int(n)] for n in wanted]
    raise MediaError(
        "damaged", f"{container.name}: {len(numbers) - len(picked)} of the wanted frames cannot be decoded"
    )


def to_rgb(frame: Any, limits: MediaLimits) -> UInt8:
    """Give the upright RGB pixels of a decoded frame, [H, W, 3]."""
    if frame.is_corrupt:
        raise MediaError("damaged", "the decoder marks a wanted frame as corrupt")
    if frame.width * frame.height > limits.max_video_pixels:  # the size may change within a stream
        raise MediaError("too_many_pixels", f"a frame of {frame.width} x {frame.height}")
    pixels: UInt8 = frame.to_ndarray(format="rgb24", threads=1)  # starting threads costs more than they bring
    return np.ascontiguousarray(np.rot90(pixels, k=round(frame.rotation / 90)))
