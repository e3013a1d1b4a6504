"""The document tower: a video to its codes in every space.

Letters: B videos, F frames, L tokens of a text, N tokens of all modalities, M codes, W width, D components.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsearch.encoders import FrameTower, ImageTower, TextTower
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.settings import ModelSettings
from mmsearch.nn import masked_mean
from mmsearch.types import CONTENT, PERCEPTION, TEXTS, Modality

#: The spaces of the model, and what a video needs at least one of to have a vector there.
SPACES: dict[str, tuple[Modality, ...]] = {
    "cover": (Modality.COVER,),
    "frames": (Modality.FRAMES,),
    "perception": PERCEPTION,
    "content": CONTENT,
}


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of videos in one space: L2-normalised [B, M, D]; where `present` [B] is False they mean nothing."""

    codes: Tensor
    present: Tensor


@dataclass(frozen=True, slots=True)
class _Tokens:
    tokens: Tensor  # [B, N, W]
    mask: Tensor  # [B, N]


class DocumentTower(nn.Module):
    """Encode covers, frames and texts once, and give the codes of all four spaces.

    Args:
        settings: of the whole model.
        vocab_size: number of token ids.
    """

    def __init__(self, settings: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        document = settings.document
        self.cover_grid = document.cover_grid
        self.text: TextTower = document.text.build(vocab_size)
        width = self.text.width
        self.image: ImageTower = document.image.build()
        self.from_image = nn.Sequential(nn.LayerNorm(self.image.width), nn.Linear(self.image.width, width))
        self.frame: FrameTower = document.frames.build(width)
        self.fusions = nn.ModuleDict({name: document.fusion.build(width) for name in ("perception", "content")})
        self.heads = nn.ModuleDict({name: nn.Linear(width, settings.dim, bias=False) for name in SPACES})

    def forward(self, inputs: DocumentInputs, spaces: Collection[str] = tuple(SPACES)) -> dict[str, Codes]:
        """Give the codes of videos in the spaces asked for.

        `cover` and `frames` have one code, `perception` and `content` as many as the fusion gives.
        """
        texts = self._encode_texts(inputs) if {"perception", "content"} & set(spaces) else {}
        cover, whole = self._encode_covers(inputs)
        frames = self._encode_frames(inputs) if {"frames", "content"} & set(spaces) else None
        found: dict[str, Codes] = {}
        if "cover" in spaces:
            found["cover"] = self._codes("cover", whole.unsqueeze(1), inputs.has_cover)
        if "frames" in spaces and frames is not None:
            pooled = masked_mean(frames.tokens, frames.mask)
            found["frames"] = self._codes("frames", pooled.unsqueeze(1), frames.mask.any(1))
        tokens = texts | {Modality.COVER: cover} | ({} if frames is None else {Modality.FRAMES: frames})
        for space in ("perception", "content"):
            if space in spaces:
                found[space] = self._fuse(space, {m: tokens[m] for m in SPACES[space]})
        return found

    def _fuse(self, space: str, tokens: dict[Modality, _Tokens]) -> Codes:
        order = list(Modality)
        modality = torch.cat(
            [torch.full((t.tokens.shape[1],), order.index(m), device=t.tokens.device) for m, t in tokens.items()]
        )
        mask = torch.cat([t.mask for t in tokens.values()], 1)
        fused: Tensor = self.fusions[space](torch.cat([t.tokens for t in tokens.values()], 1), mask, modality)
        return self._codes(space, fused, mask.any(1))

    def _codes(self, space: str, codes: Tensor, present: Tensor) -> Codes:
        return Codes(F.normalize(self.heads[space](codes), dim=-1), present)

    def _encode_texts(self, inputs: DocumentInputs) -> dict[Modality, _Tokens]:
        return {modality: self._encode_text(inputs.texts[modality]) for modality in TEXTS}

    def _encode_text(self, text: TextInputs) -> _Tokens:
        some = text.mask.any(1)
        tokens = torch.zeros(*text.ids.shape, self.text.width, device=text.ids.device, dtype=self.text.position.dtype)
        if some.any():  # only the texts that are there cost anything
            tokens[some] = self.text(text.ids[some], text.mask[some]).to(tokens.dtype)
        return _Tokens(tokens, text.mask)

    def _encode_covers(self, inputs: DocumentInputs) -> tuple[_Tokens, Tensor]:
        """Give the cover's tokens (the whole, then its regions) [B, 1 + grid², W], and the whole alone [B, W]."""
        tokens = self._encode_pictures(inputs.cover, inputs.has_cover, self.cover_grid)
        mask = inputs.has_cover.unsqueeze(1).expand(-1, tokens.shape[1])
        return _Tokens(tokens, mask), tokens[:, 0]

    def _encode_frames(self, inputs: DocumentInputs) -> _Tokens:
        each = self._encode_pictures(inputs.frames.flatten(0, 1), inputs.has_frame.flatten(), 0)
        tokens = self.frame(each[:, 0].unflatten(0, inputs.has_frame.shape), inputs.has_frame)
        return _Tokens(tokens, inputs.has_frame)

    def _encode_pictures(self, pixels: Tensor, present: Tensor, grid: int) -> Tensor:
        """Encode the pictures that are there: [P, 3, S, S] and [P] to [P, 1 + grid², W], zeros for the others."""
        count = 1 + grid * grid
        tokens = torch.zeros(len(pixels), count, self.text.width, device=pixels.device, dtype=self.text.position.dtype)
        if present.any():
            seen = self.image(pixels[present])
            parts = [self.image.pool(seen).unsqueeze(1)]
            if grid:
                parts.append(self.image.grid(seen, grid))
            tokens[present] = self.from_image(torch.cat(parts, 1)).to(tokens.dtype)
        return tokens
