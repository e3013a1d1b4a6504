"""The contracts between rooms, on one page. No torch.

Letters: B videos, M codes of a video in a space (1 in most), D components of an embedding, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mmsearch.types import Modality, Space

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PreparedVideo:
    """A video as training and refresh read it: texts, JPEG bytes, and a hash of each modality's content.

    `texts` and `hashes` hold only the modalities that the video has; `cover` is None and `frames` empty when missing.
    `key_sentences` are those of the transcript that towers read in its place, where they were chosen.
    """

    doc_id: str
    texts: Mapping[Modality, str]
    cover: bytes | None
    frames: tuple[bytes, ...]
    hashes: Mapping[Modality, str]
    key_sentences: str | None = None

    def read_as(self, modality: Modality) -> str:
        """Give a text as towers read it: of speech the key sentences, where there are some; empty when missing."""
        if modality is Modality.ASR and self.key_sentences is not None:
            return self.key_sentences
        return self.texts.get(modality, "")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of some videos in one space.

    Args:
        vectors: the codes of each video one after another, each L2-normalised, [B, M*D]; rows that are not present are
            zeros and must not be read.
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


@runtime_checkable
class SteppedEncoder(DocumentEncoder, Protocol):
    """A `DocumentEncoder` whose steps can be called one by one; `encode` is `fuse(run_towers(read(videos)))`.

    So the pictures of the next batch can be decoded while this one is computed, and what a tower made of a picture
    that did not change is used again: what `kept` gave once is what `read` takes.
    """

    #: A fingerprint for each modality whose tower outputs can be kept: of all that moves them.
    towers: Mapping[Modality, str]

    def read(
        self, videos: Sequence[PreparedVideo], reused: Mapping[Modality, Mapping[int, Float32]] | None = None
    ) -> Any:
        """Give what the towers read: pictures decoded, texts as tokens. On the CPU; safe for threads.

        Args:
            videos: a batch.
            reused: kept outputs by place in the batch; these pictures are not decoded, and their towers not run.
        """
        ...

    def run_towers(self, inputs: Any) -> Any:
        """Give what the towers make of what `read` gave."""
        ...

    def fuse(self, outputs: Any) -> dict[str, Embedded]:
        """Give the vectors of every space from what `run_towers` gave."""
        ...

    def kept(self, outputs: Any) -> dict[Modality, dict[int, Float32]]:
        """Give the outputs that can be kept: of every modality of `towers`, by place in the batch; plain arrays."""
        ...


@dataclass(frozen=True, slots=True)
class TextBox:
    """A piece of text in a picture.

    Args:
        corners: its corners (x, y) in pixels, clockwise from the upper left of the text, [4, 2].
        text: what is written there.
        confidence: how sure the reader is, 0 … 1.
    """

    corners: Float32
    text: str
    confidence: float


class TextReader(Protocol):
    """Reads the text in a picture (OCR)."""

    def read(self, picture: UInt8) -> list[TextBox]:
        """Give the pieces of text in an RGB picture, [H, W, 3], in the reader's own order; none in a blank one."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of speech: its begin and end in seconds from the start of the sound, and the words."""

    start_s: float
    end_s: float
    text: str


class Transcriber(Protocol):
    """Turns speech into text (ASR)."""

    def transcribe(self, sound: Float32) -> list[Segment]:
        """Give the segments of mono sound at 16 kHz in -1 … 1, [samples], in time order; none in silence."""
        ...
