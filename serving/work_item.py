"""What the driver of a refresh and those that embed tell each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from serving.embed import EmbedJob


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Videos that are embedded and committed together.

    Args:
        key: hash of all that decides the bytes of the result; the name under which the result is kept.
        rows: rows of the corpus, in the order of the result.
        reused: file of tower outputs that are known already (`serving.towers.read_reused`); None = none.
    """

    key: str
    rows: tuple[int, ...]
    reused: Path | None = None


class Reason(StrEnum):
    """Why a video has no vectors."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    RAISED = "raised"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A video that could not be embedded: its reason, and in words what was seen."""

    doc_id: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Done:
    """An item whose result lies in the work folder.

    Args:
        key: of the item.
        num_videos: videos of the item, those in quarantine among them.
        quarantined: videos that the result lacks.
    """

    key: str
    num_videos: int
    quarantined: tuple[Quarantined, ...] = ()


class Executor(Protocol):
    """Runs work items somewhere: here, in processes, on a cluster. The results are the same bytes."""

    def run(self, items: Collection[WorkItem], job: EmbedJob) -> Iterator[Done]:
        """Embed and commit items; yield each when its result lies in the work folder, in any order.

        Items are drawn once, by the thread that iterates, no faster than they are worked on. An item whose valid result
        lies there already is not embedded again.

        Raises:
            MmsearchError: embedding cannot go on: workers do not start, the corpus is damaged, the disk refuses, or
                so much fails that no video can be to blame.
        """
        ...
