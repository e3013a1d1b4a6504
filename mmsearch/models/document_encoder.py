"""The document tower as refresh runs it: prepared videos in, numpy vectors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmsearch.matching import mean_code
from mmsearch.models.checkpoint import load_model, pick_device
from mmsearch.models.document import Codes
from mmsearch.models.fingerprints import model_spaces, single_space, tower_fingerprints
from mmsearch.models.inputs import DocumentInputs, InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.models.tower_outputs import Tokens, TowerOutputs, to_kept, to_reused
from mmsearch.protocols import Embedded, Float32, PreparedVideo
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, Modality

KeptOutputs = Mapping[Modality, Mapping[int, Float32]]


class ReadVideos(NamedTuple):
    """A batch as the towers read it: tensors on the CPU, and the outputs that stand for pictures in them."""

    inputs: DocumentInputs
    reused: KeptOutputs


class MatchDocumentEncoder:
    """A `SteppedEncoder` over a trained model: in every space the mean of a video's codes, or all of them.

    Args:
        model: the model, on its device.
        tokenizer: its tokenizer.
        single_modalities: also give the content vectors of each modality alone (one fusion pass for each).
        codes: give all codes of the fused spaces (`content.title` … among them), one after another.
    """

    def __init__(
        self, model: MatchModel, tokenizer: Tokenizer, *, single_modalities: bool = False, codes: bool = False
    ) -> None:
        self._model = model.eval()
        self._maker = InputMaker(model.settings, tokenizer)
        self.settings = model.settings
        self._singles = CONTENT if single_modalities and "content" in model.spaces else ()
        self._vectors = all_codes if codes else mean_code
        self.spaces = model_spaces(model, tokenizer, single_modalities=single_modalities, codes=codes)
        self.towers: Mapping[Modality, str] = tower_fingerprints(model)

    def encode(self, videos: Sequence[PreparedVideo]) -> dict[str, Embedded]:
        """Give the vectors of every space by its name; float32, [B, M*D]."""
        return self.fuse(self.run_towers(self.read(videos)))

    def read(self, videos: Sequence[PreparedVideo], reused: KeptOutputs | None = None) -> ReadVideos:
        """Give the tensors of videos; pictures whose outputs are reused are not decoded.

        Args:
            videos: a batch.
            reused: what `kept` gave for the same pictures, by place in this batch.
        """
        return ReadVideos(self._maker.documents(videos, reused), reused or {})

    @torch.inference_mode()
    def run_towers(self, inputs: ReadVideos) -> TowerOutputs:
        """Give what the towers make of the videos, on the model's device."""
        model, read = self._model, inputs.inputs
        given = {m: to_reused(kept, len(read), model.device) for m, kept in inputs.reused.items()}
        reused = {m: kept for m, kept in given.items() if kept is not None}
        return model.document.run_towers(read.to(model.device), model.spaces, reused)

    @torch.inference_mode()
    def fuse(self, outputs: TowerOutputs) -> dict[str, Embedded]:
        """Give the vectors of every space by its name; float32, [B, M*D]."""
        document = self._model.document
        found = document.codes(outputs, self._model.spaces)
        for modality in self._singles:
            found[single_space(modality)] = document.codes(only(outputs, modality), ("content",))["content"]
        return {name: self._embedded(codes) for name, codes in found.items()}

    def kept(self, outputs: TowerOutputs) -> dict[Modality, dict[int, Float32]]:
        """Give the outputs of the picture towers as plain arrays, by place in the batch.

        Of a cover [1 (+ R), W + 1], of frames [T, W + 1] (see `mmsearch.models.tower_outputs.to_kept`); float32.
        """
        pictures = {Modality.COVER: outputs.cover, Modality.FRAMES: outputs.frames}
        return {modality: to_kept(tokens) for modality, tokens in pictures.items() if tokens is not None}

    def _embedded(self, codes: Codes) -> Embedded:
        vectors = self._vectors(codes.codes.float()).masked_fill(~codes.present.unsqueeze(-1), 0)
        return Embedded(vectors.cpu().numpy(), codes.present.cpu().numpy())


def all_codes(codes: Tensor) -> Tensor:
    """Give the codes of each video one after another: [B, M, D] to [B, M*D]."""
    return codes.flatten(1)


def only(outputs: TowerOutputs, kept: Modality) -> TowerOutputs:
    """Give the same videos as if they had one modality alone."""

    def masked(modality: Modality, tokens: Tokens) -> Tokens:
        return tokens if modality is kept else Tokens(tokens.tokens, torch.zeros_like(tokens.mask))

    texts = {modality: masked(modality, tokens) for modality, tokens in outputs.texts.items()}
    cover = None if outputs.cover is None else masked(Modality.COVER, outputs.cover)
    frames = None if outputs.frames is None else masked(Modality.FRAMES, outputs.frames)
    return TowerOutputs(texts, cover, frames)


def load_document_encoder(
    run: Path | str, device: str = "auto", *, single_modalities: bool = False, codes: bool = False
) -> MatchDocumentEncoder:
    """Read the document tower of a model folder; `auto` takes a GPU where there is one.

    Raises:
        DataError: it is not a model folder.
    """
    model, tokenizer = load_model(run, str(pick_device(device)))
    return MatchDocumentEncoder(model, tokenizer, single_modalities=single_modalities, codes=codes)
