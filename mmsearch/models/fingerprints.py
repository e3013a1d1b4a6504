"""The fingerprint of every space of a model: a hash of all that moves its vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mmsearch.files import hash_bytes
from mmsearch.index.fingerprint import fingerprint
from mmsearch.models.match import MatchModel
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, Modality, Space

#: Raise it when the code that makes vectors changes what it computes from the same weights.
_COMPUTATION_VERSION = "3"


def model_spaces(model: MatchModel, tokenizer: Tokenizer, *, single_modalities: bool = False) -> tuple[Space, ...]:
    """Give the spaces of a model with their fingerprints.

    Every weight of the document tower and of the student counts, their names and shapes, the settings (picture size,
    mean, std, text lengths …) and the tokenizer; the teacher does not, for it is not served.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        single_modalities: where content is trained, add `content.title`, `content.cover`, …: the content space of a
            video that shows one modality alone, to see what each is worth.
    """
    names = list(model.spaces)
    if single_modalities and "content" in names:
        names += [single_space(modality) for modality in CONTENT]
    settings = json.dumps(model.settings.model_dump(mode="json"), sort_keys=True)
    parts: dict[str, bytes | str | Path] = {
        "settings": settings,
        "computation": _COMPUTATION_VERSION,
        "tokenizer": tokenizer.to_bytes(),
    }
    whole = fingerprint(parts | _weights(model))
    return tuple(Space(name, model.settings.dim, fingerprint({"model": whole, "space": name})) for name in names)


def single_space(modality: Modality) -> str:
    """Name the space in which the content tower sees one modality alone."""
    return f"content.{modality.value}"


def _weights(model: MatchModel) -> dict[str, bytes | str | Path]:
    """Give a hash of every served weight by its name."""
    served = ((n, t) for n, t in model.state_dict().items() if n.startswith(("document.", "student.")))
    hashes: dict[str, bytes | str | Path] = {}
    for name, tensor in served:
        array = np.ascontiguousarray(tensor.detach().cpu().float().numpy())
        hashes[name] = hash_bytes(str(array.shape).encode(), array.tobytes())
    return hashes
