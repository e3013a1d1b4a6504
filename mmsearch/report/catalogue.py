"""What the report knows of the judged videos: their texts, which modalities they have, and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_videos
from mmsearch.protocols import PreparedVideo
from mmsearch.types import TEXTS, Modality, Video

_CHUNK = 128
_MAX_PIXELS = 4096 * 4096
_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Entry:
    """A video as the report shows it: its texts, and its cover and middle frame as data URIs, None = missing."""

    texts: Mapping[Modality, str] = field(default_factory=dict)
    cover: str | None = None
    frame: str | None = None


class Catalogue:
    """The judged videos, from the prepared corpus, or else (no pictures then) from the videos table.

    Args:
        corpus: the prepared corpus.
        videos: rows of the videos table by their ids.
        thumbnail_px: longest edge of a thumbnail.
    """

    def __init__(self, corpus: PreparedCorpus | None, videos: Mapping[str, Video], thumbnail_px: int) -> None:
        self._corpus, self._videos, self._edge = corpus, videos, thumbnail_px

    @classmethod
    def open(cls, corpus: Path | None, videos: Path | None, wanted: set[str], thumbnail_px: int) -> Catalogue:
        """Open the corpus, and read the rows of the wanted videos from the table when there is no corpus.

        Raises:
            DataError: the corpus or the table cannot be used.
            IntegrityError: the corpus is not what was written.
        """
        opened = None if corpus is None else PreparedCorpus.open(corpus)
        rows = () if videos is None or opened is not None else read_videos(videos)
        return cls(opened, {video.doc_id: video for video in rows if video.doc_id in wanted}, thumbnail_px)

    @property
    def content_hash(self) -> str | None:
        """Content hash of the corpus; None without one."""
        return None if self._corpus is None else self._corpus.content_hash

    def modalities(self, doc_ids: Iterable[str]) -> dict[str, frozenset[Modality]]:
        """Give the modalities of those videos that are known."""
        if self._corpus is None:
            return {i: _declared(self._videos[i]) for i in doc_ids if i in self._videos}
        row_of = self._corpus.row_of
        rows = sorted({row_of[doc_id] for doc_id in doc_ids if doc_id in row_of})
        found = {}
        for start in range(0, len(rows), _CHUNK):  # a chunk at a time: the pictures come along
            for video in self._corpus.read(rows[start : start + _CHUNK]):
                found[video.doc_id] = frozenset(video.hashes)
        return found

    def entries(self, doc_ids: Sequence[str]) -> dict[str, Entry]:
        """Give what to show of some videos; an unknown one has nothing."""
        corpus = self._corpus
        if corpus is None:
            known = {i: self._videos[i] for i in doc_ids if i in self._videos}
            return {i: Entry(_texts(known[i])) if i in known else Entry() for i in doc_ids}
        rows = {i: corpus.row_of[i] for i in doc_ids if i in corpus.row_of}
        videos = {video.doc_id: video for video in corpus.read(rows.values())}
        return {i: self._entry(videos[i]) if i in videos else Entry() for i in doc_ids}

    def _entry(self, video: PreparedVideo) -> Entry:
        middle = video.frames[len(video.frames) // 2] if video.frames else None
        return Entry(video.texts, self._thumbnail(video.cover), self._thumbnail(middle))

    def _thumbnail(self, jpeg: bytes | None) -> str | None:
        """Draw a stored picture anew, small: no byte of a stored file gets into the page. None if it is damaged."""
        if jpeg is None:
            return None
        try:
            with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    return None
                small = picture.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            return None
        small.thumbnail((self._edge, self._edge))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _texts(video: Video) -> dict[Modality, str]:
    texts = {modality: getattr(video, modality.value) for modality in TEXTS}
    return {modality: text for modality, text in texts.items() if text}


def _declared(video: Video) -> frozenset[Modality]:
    pictures = {Modality.COVER: video.cover, Modality.FRAMES: video.video or video.frames}
    return frozenset(_texts(video)) | {modality for modality, given in pictures.items() if given}
