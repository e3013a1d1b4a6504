"""Telling media formats by their first bytes: names of files are not trusted.

The video formats are FFmpeg's demuxer names. Only these are ever opened, each by its own demuxer: FFmpeg's guessing,
which would follow playlists (HLS, DASH, concat) to other files and hosts, is not used.
"""

from __future__ import annotations

#: Pictures.
IMAGE = "image"
#: Text that names other files.
PLAYLIST = "playlist"

_PREFIXES = {
    b"\x1a\x45\xdf\xa3": "matroska",
    b"FLV\x01": "flv",
    b"OggS": "ogg",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"\x00\x00\x01\xba": "mpeg",
    b"\xff\xd8\xff": IMAGE,
    b"\x89PNG\r\n\x1a\n": IMAGE,
    b"BM": IMAGE,
}
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_RIFF = {b"AVI ": "avi", b"WEBP": IMAGE}
_PLAYLISTS = (b"#extm3u", b"ffconcat", b"<?xml", b"<mpd", b"[playlist]")
_TS_PACKETS = ((0, 188), (4, 192))


def sniff(head: bytes) -> str | None:
    """Tell the format of a file from its first bytes (1 KiB is enough).

    Returns:
        A demuxer's name (`mov`, `matroska`, `avi`, `flv`, `mpegts`, `mpeg`, `ogg`, `asf`, `gif`), `image`,
        `playlist`, or None for anything else. A GIF is `gif`: it can be both a picture and a video.
    """
    if head[4:8] in _BOXES:
        return IMAGE if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS else "mov"
    if head[:4] == b"GIF8":
        return "gif"
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    for prefix, name in _PREFIXES.items():
        if head.startswith(prefix):
            return name
    if any(_is_transport_stream(head, first, step) for first, step in _TS_PACKETS):
        return "mpegts"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PLAYLISTS):
        return PLAYLIST
    return None


def _is_transport_stream(head: bytes, first: int, step: int) -> bool:
    marks = head[first::step][:3]
    return len(marks) == 3 and marks == b"GGG"
