"""The frame index of a video: the timestamps of all its packets, without decoding any.

It is the ground truth for every decoder: which frame is shown when is decided here, so that decoders differ in speed
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.data.decoders.container import Clock, check_length, find_demuxer, open_video
from mmsearch.data.decoders.nal import is_restart
from mmsearch.data.media import MediaLimits
from mmsearch.errors import MediaError

Int64 = npt.NDArray[np.int64]

#: AVI counts frames; the timestamps that FFmpeg makes up for it are wrong for B-frames.
_UNTIMED = ("avi",)
_CLOCK_EVERY = 1024  # packets between two looks at the clock
_SHORTFALL_S, _SHORTFALL = 1.0, 0.1  # how much of the announced length may be missing


@dataclass(frozen=True, slots=True)
class VideoIndex:
    """Where the frames of a video are in time.

    Args:
        path: the file.
        demuxer: FFmpeg's name of the container.
        pts: presentation timestamps of the frames that are shown, ascending; the frame's number where the container
            has no timestamps, [F].
        keys: those timestamps at which decoding can start, ascending.
        end: timestamp at which the last frame ends.
        time_base: seconds of one tick.
        timed: False where the container has no timestamps.
        pixel_format: FFmpeg's name of it, such as `yuv420p`.
        closed: True when decoding can start afresh at every key frame and gives every frame after it.
    """

    path: Path
    demuxer: str
    pts: Int64
    keys: Int64
    end: int
    time_base: Fraction
    timed: bool = True
    pixel_format: str = ""
    closed: bool = False

    def choose(self, count: int) -> Int64:
        """Give the numbers of the frames shown at the centres of `count` equal parts of the video, [count]."""
        first = int(self.pts[0])
        span = self.end - first
        centres = [first + (2 * i + 1) * span // (2 * count) for i in range(count)]
        return np.searchsorted(self.pts, centres, side="right").astype(np.int64) - 1

    def seconds(self, frames: Int64) -> npt.NDArray[np.float64]:
        """Give the times of frames, in seconds from the first one."""
        ticks: npt.NDArray[np.float64] = (self.pts[frames] - self.pts[0]).astype(np.float64)
        return ticks * float(self.time_base)

    @property
    def shortest_frame_s(self) -> float:
        """How long the shortest frame is shown, in seconds."""
        return float(np.diff(self.pts, append=self.end).min()) * float(self.time_base)


def read_index(path: str, limits: MediaLimits) -> VideoIndex:
    """Read the frame index of a video.

    Raises:
        MediaError: those of `find_demuxer` and `open_video`; `truncated`, `no_frames`, `too_slow`.
    """
    file, demuxer = find_demuxer(path, limits)
    with open_video(file, demuxer, limits) as (container, stream):
        scan = _Scan(file, demuxer, limits, stream)
        scan.read(container)
        return scan.untimed() if demuxer in _UNTIMED or not scan.timed else scan.index()


class _Scan:
    """One pass over the packets of a container."""

    def __init__(self, path: Path, demuxer: str, limits: MediaLimits, stream: Any) -> None:
        self._path, self._demuxer, self._limits, self._stream = path, demuxer, limits, stream
        self._clock = Clock(limits.max_cpu_s)
        self._shown: list[tuple[int | None, int]] = []
        self._keys: list[int | None] = []
        self._last_s = 0.0
        self._closed = True

    def read(self, container: Any) -> None:
        for number, packet in enumerate(container.demux()):
            if number % _CLOCK_EVERY == 0:
                self._clock.check()
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._last_s = max(self._last_s, float(end))
            if packet.stream_index == self._stream.index and packet.size:
                self._see(packet)
        if not self._shown:
            raise MediaError("no_frames", f"{self._path}: the video stream holds no frame")
        self._check_complete(container)

    def _see(self, packet: Any) -> None:
        if packet.is_corrupt:
            raise MediaError("truncated", f"{self._path}: a part of the stream is missing")
        if packet.is_keyframe:
            self._keys.append(packet.pts)
            self._closed = self._closed and is_restart(self._stream.codec_context.name, bytes(packet))
        elif self._keys and packet.pts is not None and self._keys[-1] is not None:
            self._closed = self._closed and packet.pts > self._keys[-1]
        if self._keys and not packet.is_discard:  # nothing before the first key frame can be decoded
            self._shown.append((packet.pts, packet.duration or 0))

    def _check_complete(self, container: Any) -> None:
        announced = (container.duration or 0) / 1e6
        found = self._last_s - max(0, container.start_time or 0) / 1e6
        if announced - found > max(_SHORTFALL_S, _SHORTFALL * announced):
            raise MediaError("truncated", f"{self._path}: {announced:.1f} s are announced, {found:.1f} s are there")

    @property
    def timed(self) -> bool:
        return all(pts is not None for pts, _ in self._shown)

    def untimed(self) -> VideoIndex:
        count = len(self._shown)
        numbers = np.arange(count, dtype=np.int64)
        return VideoIndex(self._path, self._demuxer, numbers, numbers[:0], count, 1 / self._rate, timed=False)

    def index(self) -> VideoIndex:
        keys = [key for key in self._keys if key is not None]
        # What is shown before the first key frame refers to frames that are not there.
        durations = {pts: length for pts, length in self._shown if pts is not None and pts >= keys[0]}
        if not durations:
            raise MediaError("no_frames", f"{self._path}: the video stream holds no frame that can be shown")
        time_base = Fraction(self._stream.time_base)
        pts = np.array(sorted(durations), dtype=np.int64)
        end = int(pts[-1]) + (durations[int(pts[-1])] or max(1, round(1 / (self._rate * time_base))))
        check_length(self._path, float((end - int(pts[0])) * time_base), self._limits)
        return VideoIndex(
            self._path,
            self._demuxer,
            pts,
            keys=np.array(sorted(keys), dtype=np.int64),
            end=end,
            time_base=time_base,
            pixel_format=self._stream.codec_context.pix_fmt or "",
            closed=self._closed,
        )

    @property
    def _rate(self) -> Fraction:
        return Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
