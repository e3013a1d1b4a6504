"""The values that cross rooms. No torch, no I/O: import it from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class Modality(StrEnum):
    """What a video brings. The order is the order of the tokens in a fusion tower."""

    TITLE = "title"
    ACCOUNT = "account"
    COVER = "cover"
    COVER_OCR = "cover_ocr"
    FRAMES = "frames"
    CONTENT_OCR = "content_ocr"
    ASR = "asr"


#: What a searcher sees before the click.
PERCEPTION: tuple[Modality, ...] = (Modality.TITLE, Modality.ACCOUNT, Modality.COVER, Modality.COVER_OCR)
#: All that a video is: the perception domain, and what only a viewer gets to know.
CONTENT: tuple[Modality, ...] = tuple(Modality)
#: The modalities that are text.
TEXTS: tuple[Modality, ...] = tuple(m for m in Modality if m not in (Modality.COVER, Modality.FRAMES))

#: How a query selects among the codes of a video; `mmsearch.matching.poly_scores` defines them.
Selection = Literal["max", "weighted", "min", "mean"]


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space: one match feature.

    Args:
        name: `cover`, `frames`, `perception`, `content`, or a name of the user's.
        dim: D, number of components of a vector.
        fingerprint: hash of everything that moves its vectors (weights of both towers, tokenizer, preprocessing).
            Vectors and query towers with different fingerprints are never compared.
        num_codes: M, number of vectors that stand for a document (its codes); a query has one in every space.
    """

    name: str
    dim: int
    fingerprint: str
    num_codes: int = 1

    @property
    def row_dim(self) -> int:
        """Number of components of a document's row: its codes one after another, M*D."""
        return self.num_codes * self.dim


@dataclass(frozen=True, slots=True)
class Video:
    """A row of the videos table. Paths are resolved: absolute, or a URI. None = the modality is missing."""

    doc_id: str
    title: str | None = None
    account: str | None = None
    cover: str | None = None
    video: str | None = None
    frames: tuple[str, ...] | None = None
    cover_ocr: str | None = None
    content_ocr: str | None = None
    asr: str | None = None
    duration_s: float | None = None
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """A row of the click log. `position` counts from 1 (top); `watch_s` is None when it was not recorded."""

    query: str
    doc_id: str
    shown_at: datetime | None = None
    position: int | None = None
    clicked: bool = True
    watch_s: float | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Judgment:
    """A human grade of a video for a query: 0 = irrelevant, higher = better."""

    query: str
    doc_id: str
    grade: int
    aspect: str = "overall"


#: query -> doc_id -> score
Run = Mapping[str, Mapping[str, float]]
#: query -> doc_id -> grade
Qrels = Mapping[str, Mapping[str, int]]
