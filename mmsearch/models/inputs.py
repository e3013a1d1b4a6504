"""From prepared videos and queries to tensors.

Letters: B videos, F frames, S side of a picture in pixels, L tokens of a text, Q queries.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mmsearch.errors import DataError
from mmsearch.models.settings import ModelSettings
from mmsearch.protocols import PreparedVideo
from mmsearch.text import Tokenizer
from mmsearch.types import TEXTS, Modality


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Token ids [B, L] and their mask [B, L] (True = real); a row without any real token is a missing text."""

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> TextInputs:
        """Move to a device."""
        return TextInputs(self.ids.to(device), self.mask.to(device))

    def rows(self, start: int, stop: int) -> TextInputs:
        """Give some of the texts."""
        return TextInputs(self.ids[start:stop], self.mask[start:stop])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class DocumentInputs:
    """What a document tower reads of some videos.

    Args:
        cover: uint8 pixels [B, 3, S, S].
        has_cover: [B].
        frames: uint8 pixels [B, F, 3, S, S].
        has_frame: [B, F].
        texts: ids and masks of each text modality.
    """

    cover: Tensor
    has_cover: Tensor
    frames: Tensor
    has_frame: Tensor
    texts: Mapping[Modality, TextInputs]

    def to(self, device: torch.device) -> DocumentInputs:
        """Move to a device."""
        return DocumentInputs(
            cover=self.cover.to(device),
            has_cover=self.has_cover.to(device),
            frames=self.frames.to(device),
            has_frame=self.has_frame.to(device),
            texts={modality: text.to(device) for modality, text in self.texts.items()},
        )

    def rows(self, start: int, stop: int) -> DocumentInputs:
        """Give some of the videos."""
        return DocumentInputs(
            cover=self.cover[start:stop],
            has_cover=self.has_cover[start:stop],
            frames=self.frames[start:stop],
            has_frame=self.has_frame[start:stop],
            texts={modality: text.rows(start, stop) for modality, text in self.texts.items()},
        )

    def __len__(self) -> int:
        return len(self.cover)


class InputMaker:
    """Turns prepared videos and queries into tensors, the same in training, refresh and export.

    Args:
        settings: of the model.
        tokenizer: of the model.
    """

    def __init__(self, settings: ModelSettings, tokenizer: Tokenizer) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._side = settings.document.image.image_size

    def queries(self, queries: Sequence[str]) -> TextInputs:
        """Give the ids of queries, [Q, L]; an empty one is the start token alone."""
        ids, mask = self._tokenizer.encode_batch(queries, self._settings.lengths.query)
        return TextInputs(torch.from_numpy(ids), torch.from_numpy(mask).bool())

    def blank(self, queries: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell of which queries the tokenizer keeps nothing (empty, blanks, control characters), [Q]."""
        _, mask = self._tokenizer.encode_batch(queries, self._settings.lengths.query)
        return np.asarray(mask.sum(1) <= self._tokenizer.num_special)

    def documents(
        self, videos: Sequence[PreparedVideo], blank: Mapping[Modality, Collection[int]] | None = None
    ) -> DocumentInputs:
        """Give the tensors of videos.

        Args:
            videos: the videos.
            blank: pictures that are not decoded, because what a tower makes of them is known: of the modality `cover`
                or `frames`, places of videos. They are there, and black.

        Raises:
            DataError: a picture is not of the side that the model reads; the message says how to prepare again.
        """
        side, num_frames = self._side, self._settings.num_frames
        cover = np.zeros((len(videos), side, side, 3), np.uint8)
        frames = np.zeros((len(videos), num_frames, side, side, 3), np.uint8)
        has_frame = np.zeros((len(videos), num_frames), np.bool_)
        blank_covers, blank_frames = (set((blank or {}).get(m, ())) for m in (Modality.COVER, Modality.FRAMES))
        for i, video in enumerate(videos):
            has_frame[i, : len(video.frames)] = True
            if video.cover is not None and i not in blank_covers:
                cover[i] = self._pixels(video.cover, video.doc_id)
            for j, frame in enumerate(() if i in blank_frames else video.frames[:num_frames]):
                frames[i, j] = self._pixels(frame, video.doc_id)
        return DocumentInputs(
            cover=torch.from_numpy(cover).permute(0, 3, 1, 2),
            has_cover=torch.tensor([video.cover is not None for video in videos], dtype=torch.bool),
            frames=torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
            has_frame=torch.from_numpy(has_frame),
            texts={modality: self._texts(videos, modality) for modality in TEXTS},
        )

    def _texts(self, videos: Sequence[PreparedVideo], modality: Modality) -> TextInputs:
        texts = [video.read_as(modality) for video in videos]
        ids, mask = self._tokenizer.encode_batch(texts, getattr(self._settings.lengths, modality.value))
        # a text of which the tokenizer keeps nothing (zero-width marks, say) is a missing text
        given = mask.sum(1) > self._tokenizer.num_special
        return TextInputs(torch.from_numpy(ids), torch.from_numpy(mask.astype(np.bool_) & given[:, None]))

    def _pixels(self, jpeg: bytes, doc_id: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            if picture.size != (self._side, self._side):
                raise DataError(
                    f"{doc_id}: the prepared picture is {picture.width} x {picture.height}, the model reads "
                    f"{self._side} x {self._side}; prepare the corpus with image_size={self._side}"
                )
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
