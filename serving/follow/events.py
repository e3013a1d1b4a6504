"""What becomes of a changed video on its way: prepared, embedded, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmsearch.data.prepare_video import Rejection
from mmsearch.index.ids import UInt64
from mmsearch.protocols import Embedded, PreparedVideo
from serving.follow.ledger import Ticket


@dataclass(frozen=True, slots=True)
class Row:
    """A video as the overlay will hold it: its vectors in every space, and the hash of each modality [1, 8]."""

    embedded: Mapping[str, Embedded]
    contents: UInt64


@dataclass(frozen=True, slots=True)
class Prepared:
    """A video was prepared (None = it cannot be used), and what was rejected of it."""

    ticket: Ticket
    video: PreparedVideo | None
    rejections: Sequence[Rejection]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A video has its vectors."""

    ticket: Ticket
    row: Row


@dataclass(frozen=True, slots=True)
class Failed:
    """A video could not be embedded: `raised` or `not_finite`, and in words what was seen."""

    ticket: Ticket
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A later entry of the video was read, and nothing more was done for this one."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Broken:
    """A thread cannot go on."""

    error: BaseException


Event = Prepared | Encoded | Failed | Dropped | Broken
