"""The tables that a run learns from, read as `data.on_error` says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from mmsearch.data.tables import OnError, read_interactions, read_judgments, read_videos
from mmsearch.errors import DataError
from mmsearch.types import Interaction, Judgment, Video
from training.config import DataSettings, FitSettings
from training.paths import RunPaths

_log = logging.getLogger(__name__)


class _Handling(TypedDict, total=False):
    """What a reader does with bad rows."""

    on_error: OnError
    rejected: Path


@dataclass(frozen=True)
class RunTables:
    """Readers of a run's tables. Paths are as the settings give them.

    Args:
        data: settings of the data.
        rejected: for each table whose bad rows are left out, the file that lists them; other tables end the run at
            their first bad row.

    See also:
        training.pairs.held_out: always ends at a bad row, which might hide a video that must not be learned from.
    """

    data: DataSettings
    rejected: Mapping[Path, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: FitSettings, paths: RunPaths) -> RunTables:
        """Give the readers of a run; bad rows are listed in its folder `rejected_rows`, by the names of the tables."""
        data = settings.data
        named = [data.videos] if "quarantine" in (data.on_error, data.prepare.on_error) else []
        if data.on_error == "quarantine":
            named += [data.interactions, data.judgments, data.val_interactions]
            named += [table for stage in settings.stages for table in (stage.data.interactions, stage.data.judgments)]
        rejected: dict[Path, Path] = {}
        for table in dict.fromkeys(data.path(path) for path in named if path is not None):
            rejected[table] = _free_name(paths.rejected_rows, table.stem, set(rejected.values()))
        return cls(data, rejected)

    def interactions(self, path: Path) -> Iterator[Interaction]:
        """Give the rows of a click log."""
        return read_interactions(self.data.path(path), **self._handling(path))

    def judgments(self, path: Path) -> Iterator[Judgment]:
        """Give human grades."""
        return read_judgments(self.data.path(path), **self._handling(path))

    def videos(self, path: Path) -> Iterator[Video]:
        """Give the rows of a videos table."""
        return read_videos(self.data.path(path), **self._handling(path))

    def _handling(self, path: Path) -> _Handling:
        rejected = self.rejected.get(self.data.path(path))
        if rejected is None:
            return {}
        rejected.parent.mkdir(parents=True, exist_ok=True)
        return {"on_error": "quarantine", "rejected": rejected}


@dataclass(frozen=True)
class Tally:
    """How many rows of a table a run uses, and how many it leaves out.

    Args:
        table: the table.
        what: is counted, in the plural.
        used: their number.
        held_out: those of videos that must not be learned from.
        unknown: those of videos that are not in the corpus.
        others: further reasons, in words, and the numbers left out for them.
    """

    table: Path
    what: str
    used: int
    held_out: int = 0
    unknown: int = 0
    others: Mapping[str, int] = field(default_factory=dict)

    def report(self) -> None:
        """Log the numbers, as a warning where a video is unknown.

        Raises:
            DataError: nothing is left.
        """
        reasons = {"of held-out videos": self.held_out, "of videos that are not in the corpus": self.unknown}
        told = ", ".join(f"{count:,} {reason}" for reason, count in {**reasons, **self.others}.items() if count)
        if not self.used:
            advice = ", or hold out fewer videos (data.val_judgments, data.holdout)" if self.held_out else ""
            found = f"all are left out: {told}" if told else "the table has none"
            raise DataError(f"{self.table}: no {self.what} can be used, {found}; give others{advice}")
        level = logging.WARNING if self.unknown else logging.INFO
        left_out = f"; left out: {told}" if told else ""
        _log.log(level, "%s: %s %s used%s", self.table, f"{self.used:,}", self.what, left_out)


def _free_name(folder: Path, stem: str, taken: set[Path]) -> Path:
    name, number = folder / f"{stem}.jsonl", 2
    while name in taken:
        name, number = folder / f"{stem}-{number}.jsonl", number + 1
    return name
