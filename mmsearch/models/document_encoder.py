"""The document tower as refresh runs it: prepared videos in, numpy vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mmsearch.matching import mean_code
from mmsearch.models.checkpoint import load_model, pick_device
from mmsearch.models.document import Codes
from mmsearch.models.fingerprints import model_spaces, single_space
from mmsearch.models.inputs import DocumentInputs, InputMaker, TextInputs
from mmsearch.models.match import MatchModel
from mmsearch.protocols import Embedded, PreparedVideo
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, Modality


class MatchDocumentEncoder:
    """A `DocumentEncoder` over a trained model: in every space the mean of a video's codes, or all of them.

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

    @torch.inference_mode()
    def encode(self, videos: Sequence[PreparedVideo]) -> dict[str, Embedded]:
        """Give the vectors of every space by its name; float32, [B, M*D]."""
        device = self._model.device
        inputs = self._maker.documents(videos).to(device)
        found = self._model.document(inputs, self._model.spaces)
        for modality in self._singles:
            alone = only(inputs, modality)
            found[single_space(modality)] = self._model.document(alone, ("content",))["content"]
        return {name: self._embedded(codes) for name, codes in found.items()}

    def _embedded(self, codes: Codes) -> Embedded:
        vectors = self._vectors(codes.codes.float()).masked_fill(~codes.present.unsqueeze(-1), 0)
        return Embedded(vectors.cpu().numpy(), codes.present.cpu().numpy())


def all_codes(codes: Tensor) -> Tensor:
    """Give the codes of each video one after another: [B, M, D] to [B, M*D]."""
    return codes.flatten(1)


def only(inputs: DocumentInputs, kept: Modality) -> DocumentInputs:
    """Give the same videos as if they had one modality alone."""
    texts = {m: t if m is kept else TextInputs(t.ids, torch.zeros_like(t.mask)) for m, t in inputs.texts.items()}
    cover = inputs.has_cover if kept is Modality.COVER else torch.zeros_like(inputs.has_cover)
    frame = inputs.has_frame if kept is Modality.FRAMES else torch.zeros_like(inputs.has_frame)
    return replace(inputs, texts=texts, has_cover=cover, has_frame=frame)


def load_document_encoder(
    run: Path | str, device: str = "auto", *, single_modalities: bool = False, codes: bool = False
) -> MatchDocumentEncoder:
    """Read the document tower of a model folder; `auto` takes a GPU where there is one.

    Raises:
        DataError: it is not a model folder.
    """
    model, tokenizer = load_model(run, str(pick_device(device)))
    return MatchDocumentEncoder(model, tokenizer, single_modalities=single_modalities, codes=codes)
