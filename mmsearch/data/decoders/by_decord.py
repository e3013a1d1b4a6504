"""decord: unmaintained since 2021, and silently wrong on some containers; used only where its own index agrees.

It gives wrong frames of MPEG-TS, of MP4 with edit lists, of open groups of pictures (x265's default) and of gradual
refresh, ignores rotation, and knows neither AV1 nor GIF. So it gets closed groups of pictures in the containers that it
reads well, and only when its timestamps of the wanted frames are those of our index.
"""

from __future__ import annotations

import numpy as np

from mmsearch.data.decoders.by_pyav import is_turned
from mmsearch.data.decoders.index import Int64, VideoIndex
from mmsearch.data.images import UInt8
from mmsearch.data.media import MediaLimits
from mmsearch.extras import require

_CONTAINERS = ("mov", "matroska")
_PIXELS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p")  # with more bits it loses the last frame


def decode(index: VideoIndex, wanted: Int64, limits: MediaLimits) -> list[UInt8] | None:
    """Give some frames of a video as PyAV would; None = decord is not to be trusted with this file.

    Args: see `mmsearch.data.decoders.by_pyav.decode`.
    """
    if index.demuxer not in _CONTAINERS or index.pixel_format not in _PIXELS or not index.closed:
        return None
    if is_turned(index, limits):
        return None
    decord = require("decord", extra="decord")
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(index.path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != len(index.pts) or not _same_times(reader, index, wanted):
            return None
        frames: UInt8 = reader.get_batch(wanted.tolist()).asnumpy()
    except MemoryError:
        raise
    except Exception:  # DECORDError, RuntimeError, IndexError, …: AV1, or damage, which PyAV tells better
        return None
    return list(frames)


def _same_times(reader: object, index: VideoIndex, wanted: Int64) -> bool:
    """Tell whether decord means the same frames by these numbers, to half a frame."""
    times = np.asarray(reader.get_frame_timestamp(wanted.tolist()))[:, 0]  # type: ignore[attr-defined]
    ours = index.seconds(wanted)
    return bool(np.abs(times - times[0] - (ours - ours[0])).max() <= index.shortest_frame_s / 2)
