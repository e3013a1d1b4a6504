"""Where things stand in the folder of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The folder of a run.

    Args:
        folder: of the run.
    """

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def lineage(self) -> Path:
        """What each stage came from."""
        return self.folder / "lineage.json"

    @property
    def pictures(self) -> Path:
        """Folder of pictures that validations draw."""
        return self.folder / "pictures"

    def sheet(self, total_steps: int) -> Path:
        """Pictures that were masked and rebuilt after so many steps."""
        return self.pictures / f"{total_steps:08d}.png"

    @property
    def config(self) -> Path:
        """All settings as they were used."""
        return self.folder / "config.yaml"

    @property
    def fingerprints(self) -> Path:
        """Written last: a run that has it is finished."""
        return self.folder / "fingerprints.json"

    @property
    def rejected_rows(self) -> Path:
        """Folder of the bad rows of tables."""
        return self.folder / "rejected_rows"

    def bad_batch(self, rank: int) -> Path:
        """The batch whose gradient was not finite, as a process saw it."""
        return self.folder / f"bad_batch-{rank}.json"
