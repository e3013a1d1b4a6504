"""Three decoders behind one function type. PyAV reads the index for all of them, and the files that others refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from mmsearch.data.decoders import by_decord, by_pyav, by_torchcodec
from mmsearch.data.decoders.index import Int64, VideoIndex
from mmsearch.data.images import UInt8
from mmsearch.data.media import MediaLimits

DecoderName = Literal["pyav", "decord", "torchcodec"]

#: Gives the wanted frames, or None where the decoder is not to be trusted with the file.
Decode = Callable[[VideoIndex, Int64, MediaLimits], list[UInt8] | None]

DECODERS: Mapping[DecoderName, Decode] = {
    "decord": by_decord.decode,
    "pyav": by_pyav.decode,
    "torchcodec": by_torchcodec.decode,
}
