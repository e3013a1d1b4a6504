"""The fingerprint of every space of a model: a hash of all that moves its vectors."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from mmsearch.files import hash_bytes
from mmsearch.index.fingerprint import fingerprint
from mmsearch.models.document import SPACES
from mmsearch.models.match import MatchModel
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, Modality, Space

#: Raise it when vectors are computed otherwise from the same weights, or when a setting gets another default.
_COMPUTATION_VERSION = "4"


def model_spaces(
    model: MatchModel, tokenizer: Tokenizer, *, single_modalities: bool = False, codes: bool = False
) -> tuple[Space, ...]:
    """Give the spaces of a model with their fingerprints.

    Every weight of the document tower and of the student counts, their names and shapes, the settings (picture size,
    mean, std, text lengths …) and the tokenizer; the teacher and the cross-encoder do not: they move no
    vector that is served. Nor does it count whether codes or their mean are served: `num_codes` of the spaces tells.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        single_modalities: where content is trained, add `content.title`, `content.cover`, …: the content space of a
            video that shows one modality alone, to see what each is worth.
        codes: serve all codes of the fused spaces, instead of their mean.
    """
    names = list(model.spaces)
    if single_modalities and "content" in names:
        names += [single_space(modality) for modality in CONTENT]
    settings = json.dumps(chosen_settings(model.settings, leave_out=("cross",)), sort_keys=True)
    parts: dict[str, bytes | str | Path] = {
        "settings": settings,
        "computation": _COMPUTATION_VERSION,
        "tokenizer": tokenizer.to_bytes(),
    }
    whole = fingerprint(parts | _weights(model))
    num_codes = {name: _num_codes(model, name) if codes else 1 for name in names}
    return tuple(
        Space(name, model.settings.dim, fingerprint({"model": whole, "space": name}), num_codes[name]) for name in names
    )


def tower_fingerprints(model: MatchModel) -> dict[Modality, str]:
    """Give the fingerprint of each tower that reads pictures: of all that moves its outputs, and nothing else.

    A model whose fusion, texts, projections or query towers were trained on keeps them.
    """
    settings, fused = model.settings, bool({"perception", "content"} & set(model.spaces))
    kept: dict[Modality, tuple[str, ...]] = {}
    if fused or "cover" in model.spaces:
        kept[Modality.COVER] = ("document.image.",)
    if {"frames", "content"} & set(model.spaces):
        kept[Modality.FRAMES] = ("document.image.", "document.frame.")
    chosen = chosen_settings(settings.document)
    read = {name: chosen[name] for name in ("image", "frames", "cover_grid") if name in chosen}
    parts = {
        "settings": json.dumps([read, settings.num_frames, fused], sort_keys=True),
        "computation": _COMPUTATION_VERSION,
    }
    return {m: fingerprint({**parts, "modality": m.value} | _weights(model, names)) for m, names in kept.items()}


def chosen_settings(settings: BaseModel, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Give the settings that differ from their defaults, as JSON has them; and every `type`, which names the defaults.

    So a model keeps its fingerprints when a later mmsearch has more settings, whose defaults change nothing.
    """
    told: dict[str, Any] = {}
    plain = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in leave_out or (name != "type" and value == field.get_default(call_default_factory=True)):
            continue
        told[name] = chosen_settings(value) if isinstance(value, BaseModel) else plain[name]
    return told


def _num_codes(model: MatchModel, space: str) -> int:
    """Give the number of codes that the model gives in a space: several where several modalities are fused."""
    fused = len(SPACES[space.split(".")[0]]) > 1
    return model.settings.document.fusion.num_codes if fused else 1


def single_space(modality: Modality) -> str:
    """Name the space in which the content tower sees one modality alone."""
    return f"content.{modality.value}"


def _weights(model: MatchModel, parts: tuple[str, ...] = ("document.", "student.")) -> dict[str, bytes | str | Path]:
    """Give a hash of every weight of these parts (all that are served) by its name."""
    served = ((n, t) for n, t in model.state_dict().items() if n.startswith(parts))
    hashes: dict[str, bytes | str | Path] = {}
    for name, tensor in served:
        array = np.ascontiguousarray(tensor.detach().cpu().float().numpy())
        hashes[name] = hash_bytes(str(array.shape).encode(), array.tobytes())
    return hashes
