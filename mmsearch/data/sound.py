"""The sound of a video, as speech recognisers take it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.data.decoders.container import Clock, check_length, find_demuxer, open_container
from mmsearch.data.media import MediaLimits
from mmsearch.errors import MediaError
from mmsearch.extras import require
from mmsearch.protocols import Float32

Int16 = npt.NDArray[np.int16]

#: Samples a second.
RATE = 16_000


def decode_sound(path: str, *, max_s: float, limits: MediaLimits) -> Float32 | None:
    """Decode the first sound track of a video.

    Args:
        path: a local file, as for `decode_frames`.
        max_s: seconds that are decoded, from the start; the rest is left out.
        limits: bounds on the file, its length, and the processor time.

    Returns:
        Mono sound at 16 kHz in -1 … 1, [samples]; None where the file has no sound.

    Raises:
        MediaError: those of `find_demuxer`; `unknown_codec`, `too_long`, `too_slow`, `damaged`.
        MissingExtraError: PyAV is not installed.
    """
    file, demuxer = find_demuxer(path, limits)
    with open_container(file, demuxer) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise MediaError("unknown_codec", f"{path}: FFmpeg knows no decoder for its sound")
        check_length(file, (container.duration or 0) / 1e6, limits)
        stream.codec_context.thread_count = 1
        return _collect(_samples(container, stream, limits), max(1, round(max_s * RATE)))


def _collect(pieces: Iterator[Int16], count: int) -> Float32:
    """Put pieces together, up to a number of samples."""
    taken: list[Int16] = []
    for piece in pieces:
        taken.append(piece[:count])
        count -= len(taken[-1])
        if count == 0:
            break
    sound = np.concatenate(taken) if taken else np.zeros(0, np.int16)
    return sound.astype(np.float32) / np.float32(32768)


def _samples(container: Any, stream: Any, limits: MediaLimits) -> Iterator[Int16]:
    """Decode and resample; a track may change its rate or channels on the way."""
    av, clock = require("av", extra="video"), Clock(limits.max_cpu_s)
    form: tuple[int, str, str] | None = None
    resampler: Any = None
    for frame in container.decode(stream):
        clock.check()
        if form != (found := (frame.sample_rate, frame.layout.name, frame.format.name)):
            yield from _drained(resampler)
            # As integers FFmpeg mixes channels without overflow; as floats loud stereo would go beyond 1.
            form, resampler = found, av.AudioResampler(format="s16p", layout="mono", rate=RATE)
        yield from (part.to_ndarray()[0] for part in resampler.resample(frame))
    yield from _drained(resampler)


def _drained(resampler: Any) -> Iterator[Int16]:
    if resampler is not None:
        yield from (part.to_ndarray()[0] for part in resampler.resample(None))
