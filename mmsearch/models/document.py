"""The document tower: a video to its codes in every space.

Letters: B videos, F frames, L tokens of a text, N tokens of all modalities, M codes, W width, D components.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsearch.encoders import FrameTower, ImageTower, TextTower
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.settings import ModelSettings
from mmsearch.models.tower_outputs import Reused, Tokens, TowerOutputs, joined, placed
from mmsearch.nn import masked_mean
from mmsearch.types import CONTENT, PERCEPTION, TEXTS, Modality

#: The spaces of the model, and what a video needs at least one of to have a vector there.
SPACES: dict[str, tuple[Modality, ...]] = {
    "cover": (Modality.COVER,),
    "frames": (Modality.FRAMES,),
    "perception": PERCEPTION,
    "content": CONTENT,
}
#: Asked for beside the spaces, it gives one vector of the `frames` space for every frame token; for training only.
EACH_FRAME = "each/frames"


class Codes(NamedTuple):
    """Codes of videos in one space: L2-normalised [B, M, D]; where `present` [B] is False they mean nothing.

    Of `EACH_FRAME` the codes are the frames [B, T, D], and `present` says which are real [B, T].
    """

    codes: Tensor
    present: Tensor


class DocumentTokens(NamedTuple):
    """Tokens of all modalities of videos: [B, N, W], which are real [B, N], and the number of each one's modality [N].

    That number is the modality's place in `Modality`.
    """

    tokens: Tensor
    mask: Tensor
    modality: Tensor


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
        self.frame: FrameTower = document.frames.build(self.image.width, settings.num_frames, self.image.image_size)
        self.from_image = nn.Sequential(nn.LayerNorm(self.image.width), nn.Linear(self.image.width, width))
        self.from_frame = nn.Sequential(nn.LayerNorm(self.frame.width), nn.Linear(self.frame.width, width))
        self.fusions = nn.ModuleDict(
            {name: document.fusion.build(width, SPACES[name]) for name in ("perception", "content")}
        )
        # cover and frames are projected as their towers give them, so that a CLIP keeps its own joint space
        widths = {"cover": self.image.width, "frames": self.frame.width, "perception": width, "content": width}
        self.heads = nn.ModuleDict({name: nn.Linear(widths[name], settings.dim, bias=False) for name in SPACES})

    def forward(self, inputs: DocumentInputs, spaces: Collection[str] = tuple(SPACES)) -> dict[str, Codes]:
        """Give the codes of videos in the spaces asked for (and of `EACH_FRAME`).

        `cover` and `frames` have one code, `perception` and `content` as many as the fusion gives.
        """
        return self.codes(self.run_towers(inputs, spaces), spaces)

    def run_towers(
        self,
        inputs: DocumentInputs,
        spaces: Collection[str] = tuple(SPACES),
        reused: Mapping[Modality, Reused] | None = None,
    ) -> TowerOutputs:
        """Give what the towers make of videos: the first and dear step of `forward`.

        Args:
            inputs: the videos; pictures whose outputs are reused may be blank.
            spaces: those that will be asked of `codes`.
            reused: outputs of earlier runs, of pictures and weights that did not change. A tower is not run at all
                where every video that has its modality is among them.
        """
        asked, reused = set(spaces), reused or {}
        fused = bool(asked & {"perception", "content"})
        texts = {m: self._encode_text(inputs.texts[m]) for m in TEXTS} if fused else {}
        cover = frames = None
        if fused or "cover" in asked:
            cover = self._encode_covers(inputs, reused.get(Modality.COVER), with_regions=fused)
        if asked & {"frames", EACH_FRAME, "content"}:
            frames = self._encode_frames(inputs, reused.get(Modality.FRAMES))
        return TowerOutputs(texts, cover, frames)

    def codes(self, outputs: TowerOutputs, spaces: Collection[str] = tuple(SPACES)) -> dict[str, Codes]:
        """Give the codes of videos from what the towers gave for these spaces: the second step of `forward`."""
        asked, found = set(spaces), dict[str, Codes]()
        cover, frames = outputs.cover, outputs.frames
        if cover is not None:
            found["cover"] = self._codes("cover", cover.tokens[:, :1], cover.mask[:, 0])
        if frames is not None:
            pooled = masked_mean(frames.tokens, frames.mask).unsqueeze(1)
            found["frames"] = self._codes("frames", pooled, frames.mask.any(1))
            found[EACH_FRAME] = self._codes("frames", frames.tokens, frames.mask)
        if asked & {"perception", "content"}:
            tokens = self._tokens(outputs)
            for space in ("perception", "content"):
                if space in asked:
                    found[space] = self.fuse(space, _joined({m: tokens[m] for m in SPACES[space]}))
        return {name: codes for name, codes in found.items() if name in asked}

    def tokens(self, inputs: DocumentInputs) -> DocumentTokens:
        """Give what the fusion of `content` reads: the tokens of all modalities, as the towers left them."""
        found = self._tokens(self.run_towers(inputs, ("content",)))
        return _joined({m: found[m] for m in CONTENT})

    def _tokens(self, outputs: TowerOutputs) -> dict[Modality, Tokens]:
        """Give the tokens of each modality, brought to the width of the fusion."""
        found = dict(outputs.texts)
        if outputs.cover is not None:
            found[Modality.COVER] = Tokens(self.from_image(outputs.cover.tokens), outputs.cover.mask)
        if outputs.frames is not None:
            found[Modality.FRAMES] = Tokens(self.from_frame(outputs.frames.tokens), outputs.frames.mask)
        return found

    def fuse(self, space: str, tokens: DocumentTokens) -> Codes:
        """Give the codes of a fused space from the tokens of its modalities."""
        fused: Tensor = self.fusions[space](*tokens)
        return self._codes(space, fused, tokens.mask.any(1))

    def _codes(self, space: str, codes: Tensor, present: Tensor) -> Codes:
        return Codes(F.normalize(self.heads[space](codes), dim=-1), present)

    def _encode_text(self, text: TextInputs) -> Tokens:
        read = _at_least_one(text.mask.any(1))  # only the texts that are there cost anything
        mask = text.mask[read]
        mask[:, 0] |= ~mask.any(1)  # attention over nothing would be NaN
        seen = self.text(text.ids[read], mask)
        tokens = seen.new_zeros(*text.ids.shape, self.text.width)
        tokens[read] = seen
        return Tokens(tokens, text.mask)

    def _encode_covers(self, inputs: DocumentInputs, reused: Reused | None, *, with_regions: bool) -> Tokens:
        """Give the cover's tokens, the whole and then its regions: [B, 1 (+ grid²), W of the picture tower]."""
        wanted = inputs.has_cover if reused is None else inputs.has_cover & ~reused.rows
        if reused is not None and not wanted.any():
            return joined(None, reused)
        read = _at_least_one(wanted)
        seen = self.image(inputs.cover[read])
        parts = self.image.pool(seen).unsqueeze(1)
        if with_regions:
            parts = torch.cat([parts, self.image.grid(seen, self.cover_grid)], 1)
        real = wanted[read].unsqueeze(1).expand(-1, parts.shape[1])
        fresh = placed(Tokens(parts, real), read)
        return fresh if reused is None else joined(fresh, reused)

    def _encode_frames(self, inputs: DocumentInputs, reused: Reused | None) -> Tokens:
        """Give the tokens of the frame tower: [B, T, W of it]."""
        if reused is None:
            return Tokens(*self.frame(inputs.frames, inputs.has_frame, self._encode_picture))
        wanted = inputs.has_frame.any(1) & ~reused.rows
        if not wanted.any():
            return joined(None, reused)
        fresh = self.frame(inputs.frames[wanted], inputs.has_frame[wanted], self._encode_picture)
        return joined(placed(Tokens(*fresh), wanted), reused)

    def _encode_picture(self, pixels: Tensor) -> Tensor:
        """Give one vector a picture, [P, 3, S, S] to [P, W of the picture tower]."""
        pooled: Tensor = self.image.pool(self.image(pixels))
        return pooled


def _joined(tokens: dict[Modality, Tokens]) -> DocumentTokens:
    order = list(Modality)
    modality = torch.cat(
        [torch.full((t.tokens.shape[1],), order.index(m), device=t.tokens.device) for m, t in tokens.items()]
    )
    mask = torch.cat([t.mask for t in tokens.values()], 1)
    return DocumentTokens(torch.cat([t.tokens for t in tokens.values()], 1), mask, modality)


def _at_least_one(present: Tensor) -> Tensor:
    """Say which rows are encoded: those that are there, or the first where none is, [B].

    What is encoded for nothing is masked afterwards. A tower that one process left out and others did not would let
    these wait for its gradients (or its parameters, where they are split) for ever.
    """
    if present.any() or not len(present):
        return present
    encoded = present.clone()
    encoded[0] = True
    return encoded
