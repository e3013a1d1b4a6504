"""The models whose vectors an index holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmsearch.types import Space


@dataclass(frozen=True, slots=True)
class Version:
    """Rows whose vectors come from one model, and the query tower of that model.

    Args:
        rows: the rows, dead ones too.
        spaces: the spaces that these rows have.
        query_tower: folder of their query tower.
        tower_checksum: of the names and bytes of its files, as they were published: two that are equal need one loaded
            tower only.
    """

    rows: range
    spaces: tuple[Space, ...]
    query_tower: Path
    tower_checksum: str
