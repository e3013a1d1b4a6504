"""Start a model from pretrained towers, or from parts of another model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmsearch.encoders import FrameTower, ImageTower, TextTower
from mmsearch.encoders.weights import LoadReport, load_into, locate, read_tensors
from mmsearch.errors import ConfigError
from mmsearch.models.document import SPACES
from mmsearch.models.match import MatchModel
from mmsearch.models.parts import in_part
from mmsearch.text import Tokenizer

#: Parts that read token ids, whose meaning is the tokenizer's.
_READ_TEXT = ("document.text", "teacher", "student")

_log = logging.getLogger(__name__)


def load_pretrained(model: MatchModel) -> list[LoadReport]:
    """Fill the towers of a new model with the weights that its settings name.

    Where a tower brings a projection into a joint space of `dim` components (CLIP), the heads start from it: an
    untrained model then matches covers as that CLIP does. The student is made of the loaded teacher's layers.

    Raises:
        ConfigError: weights cannot be found, or do not fit a tower; every mismatch is named.
    """
    settings = model.settings
    document, teacher = model.document, model.teacher
    named: list[tuple[ImageTower | FrameTower | TextTower, str | None]] = [
        (document.image, settings.document.image.weights),
        (document.frame, settings.document.frames.weights),
        (document.text, settings.document.text.weights),
        (teacher.text, settings.query.teacher.weights),
    ]
    # tied embeddings are the teacher's: the document's weights, loaded before, must not stand in their place
    reports = [tower.load(source) for tower, source in named if source is not None]
    if not reports:
        return []
    if settings.document.image.weights is not None:
        _start_heads(document.heads, document.image.projection(), ("cover", "frames"))
    if settings.query.teacher.weights is not None:
        _start_heads(teacher.heads, teacher.text.projection(), tuple(SPACES))
    if settings.query.tie_embeddings:
        model.tie()
    model.renew_student()
    return reports


@torch.no_grad()
def _start_heads(heads: nn.ModuleDict, projection: Tensor | None, names: Sequence[str]) -> None:
    if projection is None:
        return
    for name in names:
        head = heads[name]
        if not isinstance(head, nn.Linear):
            continue
        weight = head.weight
        if weight.shape == projection.shape:
            weight.copy_(projection)
        elif name == names[0]:
            _log.warning(
                "a pretrained tower projects to %d components, model.dim is %d: its projection is left out; "
                "set model.dim=%d to start from its joint space",
                len(projection),
                len(weight),
                len(projection),
            )


def start_from(model: MatchModel, source: str, parts: Sequence[str], tokenizer: Tokenizer) -> LoadReport:
    """Put weights of another model folder into a model.

    Args:
        model: the model.
        source: a model folder.
        parts: beginnings of the names of what is taken (`document.image`, `teacher`); empty = all.
        tokenizer: of the model.

    Raises:
        ConfigError: a part does not exist there, a shape differs, or parts that read text come with another tokenizer.
    """
    folder = locate(source)
    tensors = read_tensors(folder / "model.safetensors" if folder.is_dir() else folder)
    taken = {name: t for name, t in tensors.items() if not parts or in_part(name, parts)}
    if not taken:
        raise ConfigError(f"{source}: holds no weights whose names begin with {', '.join(parts)}")
    if any(in_part(name, _READ_TEXT) for name in taken):
        _check_tokenizer(folder, tokenizer)
    report = load_into(model, taken, source)
    report = LoadReport(
        source=report.source,
        loaded=report.loaded,
        missing=tuple(name for name in report.missing if not parts or in_part(name, parts)),
        unexpected=report.unexpected,
    )
    report.log()
    return report


def _check_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    theirs = folder / "tokenizer"
    if theirs.is_dir() and Tokenizer.load(theirs).to_bytes() != tokenizer.to_bytes():
        raise ConfigError(
            f"{folder}: was trained with another tokenizer, whose ids mean other words; set tokenizer.folder={theirs}, "
            "or take only parts that read no text"
        )
