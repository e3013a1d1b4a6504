"""One refresh of an index at a time; followers go on meanwhile."""

from __future__ import annotations

from pathlib import Path

from mmsearch.files import make_folder
from mmsearch.index.lock import FileLock
from mmsearch.index.refusal import explaining


class RefreshLock(FileLock):
    """Hold an index for refreshing it, from the plan to the end; its unfinished work belongs to whoever has this.

    The index is held for writing only while the generation is assembled: a follower goes on while videos are embedded.

    Raises:
        BusyIndexError: another refresh is at work; the message names its process.
        DataError: the disk refuses.
    """

    def __init__(self, index_dir: Path) -> None:
        with explaining(index_dir):
            make_folder(index_dir)
            super().__init__(
                index_dir / ".refresh.lock", lambda holder: f"{index_dir}: process {holder} is refreshing this index"
            )
