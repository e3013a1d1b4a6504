"""torchcodec (PyTorch's reader, FFmpeg inside): exact in its `exact` seek mode, which scans the file first.

It imports torch and looks for FFmpeg's shared libraries on the machine: the import takes seconds. Its approximate mode
gives wrong frames of videos with a variable rate, and is not used.
"""

from __future__ import annotations

import numpy as np

from mmsearch.data.decoders.index import Int64, VideoIndex
from mmsearch.data.images import UInt8
from mmsearch.data.media import MediaLimits
from mmsearch.errors import MissingExtraError
from mmsearch.extras import require

_CONTAINERS = ("mov", "matroska")
_CLOSE_S = 1e-3


def decode(index: VideoIndex, wanted: Int64, limits: MediaLimits) -> list[UInt8] | None:
    """Give some frames of a video as PyAV would; None = torchcodec counts the frames of this file differently.

    Args: see `mmsearch.data.decoders.by_pyav.decode`.
    """
    if index.demuxer not in _CONTAINERS or not index.timed:
        return None
    try:
        decoders = require("torchcodec.decoders", extra="torchcodec")
    except RuntimeError as error:
        problem = "torchcodec finds no FFmpeg (shared libraries, version 4 to 8) or does not fit the installed torch"
        raise MissingExtraError(f"{problem}; install FFmpeg, or set decoder: pyav") from error
    try:
        reader = decoders.VideoDecoder(
            str(index.path), seek_mode="exact", dimension_order="NHWC", num_ffmpeg_threads=1, device="cpu"
        )
        if len(reader) != len(index.pts):
            return None
        batch = reader.get_frames_at(wanted.tolist())
        times, frames = batch.pts_seconds.numpy(), batch.data.numpy()
    except MemoryError:
        raise
    except Exception:  # RuntimeError, ValueError, IndexError: damage, which PyAV tells better
        return None
    expected = index.pts[wanted] * float(index.time_base)
    return list(frames) if np.abs(times - expected).max() < _CLOSE_S else None
