"""The contracts between rooms, on one page. Importing it needs no torch.

Letters: B batch, L text tokens, N modality tokens, F frames, M codes of a video, D components of an embedding,
W width of a tower, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from mmsearch.types import Modality, Space

if TYPE_CHECKING:
    from torch import Tensor

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PreparedVideo:
    """A video as training and refresh read it: texts, JPEG bytes, and a hash of each modality's content.

    `texts` and `hashes` hold only the modalities that the video has; `cover` is None and `frames` empty when missing.
    """

    doc_id: str
    texts: Mapping[Modality, str]
    cover: bytes | None
    frames: tuple[bytes, ...]
    hashes: Mapping[Modality, str]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of some videos in one space.

    Args:
        vectors: L2-normalised, [B, D]; rows that are not present are zeros and must not be read.
        present: False where the video has no modality that this space reads, [B].
    """

    vectors: Float32
    present: Bool


class QueryEncoder(Protocol):
    """Turns queries into vectors, without torch: the served student tower."""

    spaces: tuple[Space, ...]

    def encode(self, queries: Sequence[str]) -> dict[str, Float32]:
        """Give the L2-normalised query vectors of every space by its name, each [Q, D]."""
        ...


class DocumentEncoder(Protocol):
    """Turns prepared videos into vectors: what refresh runs."""

    spaces: tuple[Space, ...]

    def encode(self, videos: Sequence[PreparedVideo]) -> dict[str, Embedded]:
        """Give the vectors of every space by its name."""
        ...


class TextEncoder(Protocol):
    """A text tower: token ids in, contextual tokens out."""

    width: int

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, L] ids and mask (True = real) to [B, L, W]."""
        ...


class ImageEncoder(Protocol):
    """A picture tower: pixels in, tokens out."""

    width: int

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] uint8 pixels to [B, N, W]."""
        ...

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, W] to one vector a picture [B, W]."""
        ...

    def grid(self, tokens: Tensor, side: int) -> Tensor:
        """Tokens [B, N, W] to those of side x side regions [B, side * side, W]."""
        ...


class Fusion(Protocol):
    """Modality tokens of a video in, M codes out."""

    num_codes: int

    def __call__(self, tokens: Tensor, mask: Tensor, modality: Tensor) -> Tensor:
        """[B, N, W] tokens, [B, N] mask (True = real), [N] modality of each place, to [B, M, W]."""
        ...
