"""Evenly spaced frames of a video."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mmsearch.data.decoders import DECODERS, DecoderName
from mmsearch.data.decoders.by_pyav import decode as decode_exactly
from mmsearch.data.decoders.index import read_index
from mmsearch.data.images import UInt8
from mmsearch.data.media import MediaLimits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """Frames of one video, in time order.

    Args:
        frames: upright RGB pixels; each [H, W, 3].
        times_s: when each frame begins to be shown, in seconds from the first frame of the video.
    """

    frames: list[UInt8]
    times_s: tuple[float, ...]


def decode_frames(
    path: str, num_frames: int, *, decoder: DecoderName = "pyav", limits: MediaLimits | None = None
) -> DecodedFrames:
    """Decode the frames shown at the centres of `num_frames` equal parts of a video.

    Which frame is shown when is read from the timestamps of the packets, so variable rates, edit lists and B-frames
    are right, and every decoder gives the same frames (pixels may differ by rounding). A video with fewer frames
    gives some of them more than once: there are always `num_frames`.

    Args:
        path: a local file; MP4, QuickTime, Matroska, WebM, AVI, FLV, MPEG-TS, MPEG-PS, Ogg, ASF or GIF by its content,
            whatever its name. Playlists are refused.
        num_frames: at least 1.
        decoder: `pyav` reads everything. `decord` and `torchcodec` read MP4 and Matroska, as far as their own index
            agrees with the file's; PyAV takes the rest.
        limits: bounds, checked in the header before anything is decoded where it tells them.

    Raises:
        MediaError: with a reason: `remote`, `missing_file`, `not_a_file`, `unreadable_file`, `empty_file`,
            `too_many_bytes`, `playlist`, `not_a_video`, `no_video_stream`, `unknown_codec`, `no_frames`, `truncated`,
            `damaged`, `too_many_pixels`, `too_long`, `too_slow`.
        MemoryError: a damaged file asks for absurd amounts, or the memory is really spent.
        MissingExtraError: the decoder's library is not installed.
    """
    limits = limits or MediaLimits()
    index = read_index(path, limits)
    wanted = index.choose(num_frames)
    frames = DECODERS[decoder](index, wanted, limits)
    if frames is None:
        _log.debug("%s: %s is not to be trusted with this file; PyAV reads it", path, decoder)
        frames = decode_exactly(index, wanted, limits)
    return DecodedFrames(frames, tuple(index.seconds(wanted).tolist()))
