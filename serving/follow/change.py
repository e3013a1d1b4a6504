"""What an entry of a stream says: a video's new row, or that it is gone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mmsearch.data import schema, values
from mmsearch.data.lines import Unreadable
from mmsearch.data.schema import RowError
from mmsearch.types import Video
from serving.follow.stream import Entry

_OPS = ("upsert", "delete")


@dataclass(frozen=True, slots=True)
class Change:
    """A video's new row; None = it is deleted."""

    doc_id: str
    video: Video | None


class ChangeReader:
    """Reads the cells of entries: those of the videos table, and `op`: `upsert` (where there is none) or `delete`.

    Args:
        media_root: folder that relative paths are under.
    """

    def __init__(self, media_root: Path) -> None:
        self._schema = schema.videos(os.path.abspath(media_root))
        self._known = set(self._schema.names) | {"op"}

    def read(self, entry: Entry) -> Change:
        """Give the change.

        Raises:
            RowError: the entry cannot be used: the column, and what is wrong with it.
        """
        cells = entry.cells
        if isinstance(cells, Unreadable):
            raise RowError(None, cells.problem)
        if not cells.keys() <= self._known and len(self._known) < 10_000:  # strangers may write to a stream
            self._schema.report_unknown(Path(entry.where), cells.keys(), self._known)
            self._known |= cells.keys()
        op = cells.get("op") or "upsert"
        if op not in _OPS:
            raise RowError("op", f"{values.shown(op)} is unknown; write upsert or delete")
        if op == "upsert":
            video = self._schema.row(cells)
            return Change(video.doc_id, video)
        return Change(self._doc_id(cells.get("doc_id")), None)

    def _doc_id(self, cell: object) -> str:
        if cell is None or (isinstance(cell, str | bytes) and not cell.strip()):
            raise RowError("doc_id", "is missing; a delete names the video that is gone")
        try:
            return values.doc_id(cell)
        except ValueError as error:
            raise RowError("doc_id", str(error)) from None
