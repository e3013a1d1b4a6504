"""The videos of a table that have a transcript, as the verbs of `mmsearch sentences` read them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmsearch.sentences import SpokenVideo

_NAMED = 5
_log = logging.getLogger(__name__)


class SpokenTable:
    """Gives the videos of a table that have a transcript, each time it is gone through.

    A transcript whose file cannot be read leaves its video out; the first time through, the log tells how many, and
    names some of them.

    Args:
        path: the table.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._told = path, False
        #: Videos whose transcript could not be read, the last time through.
        self.num_unreadable = 0

    def __iter__(self) -> Iterator[SpokenVideo]:
        """Give the videos.

        Raises:
            TableError: the table or a row of it is wrong.
        """
        from mmsearch.data.media import MediaLimits
        from mmsearch.data.tables import read_videos
        from mmsearch.data.transcripts import transcript_text
        from mmsearch.errors import MediaError
        from mmsearch.sentences import SpokenVideo

        num_videos = num_spoken = self.num_unreadable = 0
        limits = MediaLimits()
        for video in read_videos(self.path):
            num_videos += 1
            if video.asr is None:
                continue
            try:
                spoken = SpokenVideo(video.doc_id, video.title, transcript_text(video.asr, limits))
            except MediaError as error:
                self.num_unreadable += 1
                if not self._told and self.num_unreadable <= _NAMED:
                    _log.warning("%r: left out, its transcript cannot be read: %s", video.doc_id, error)
                continue
            num_spoken += 1
            yield spoken
        self._tell(num_videos, num_spoken)

    @property
    def problem(self) -> str | None:
        """What of the table was left out, in words; None = nothing."""
        if not self.num_unreadable:
            return None
        return f"{self.num_unreadable} videos of {self.path} are left out: their transcripts cannot be read"

    def _tell(self, num_videos: int, num_spoken: int) -> None:
        if not self._told and self.problem:
            _log.warning("%s", self.problem)
        if not self._told and not num_spoken:
            _log.warning("%s: 0 of %d videos have a transcript (column `asr`)", self.path, num_videos)
        self._told = True
