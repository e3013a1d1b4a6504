"""Which key frames of H.264 and HEVC are full restarts (IDR), read from the first bytes of a packet's units.

Others (open groups of pictures, gradual refresh) are marked as key frames too, but a decoder that starts there drops
pictures. Unit types: ITU-T H.264 (2021) table 7-1, ITU-T H.265 (2021) table 7-1.
"""

from __future__ import annotations

_H264_PICTURES, _H264_IDR = range(1, 6), (5,)
_HEVC_PICTURES, _HEVC_IDR = range(32), (19, 20)
_LENGTH_BYTES = 4


def is_restart(codec: str, packet: bytes) -> bool:
    """Tell whether a key packet of an MP4 or Matroska stream is a full restart.

    Other codecs than H.264 and HEVC are taken at their word; a packet that cannot be read is no restart.
    """
    if codec not in ("h264", "hevc"):
        return True
    pictures, idr = (_H264_PICTURES, _H264_IDR) if codec == "h264" else (_HEVC_PICTURES, _HEVC_IDR)
    at = 0
    while at + _LENGTH_BYTES < len(packet):
        head = packet[at + _LENGTH_BYTES]
        kind = head & 31 if codec == "h264" else head >> 1 & 63
        if kind in pictures:
            return kind in idr
        at += _LENGTH_BYTES + int.from_bytes(packet[at : at + _LENGTH_BYTES])
    return False
