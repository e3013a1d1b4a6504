"""Checkpoints: folders of safetensors and JSON that appear whole or not at all.

`RUN/checkpoints/00000120/` holds `model.safetensors`, `optimizer.safetensors`, `average.safetensors` (with
`run.ema_decay`) and `state.json`. It is written under a hidden name, fsynced and renamed; so the highest number is
always a whole checkpoint, and the newest two are kept. `RUN/checkpoints/best/` holds the best weights of the stage
that is under way.

Tensors are whole and named, whatever engine and however many processes wrote them: any other goes on from them. Each
file of tensors has their hash in its header, which is checked whenever it is read: no run goes on from a flipped bit.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from mmsearch.errors import ConfigError, CorruptIndexError, DataError
from mmsearch.extras import require
from mmsearch.files import fsync_file, fsync_folder, hash_bytes, permit_as_usual, read_json, replacing, write_json
from mmsearch.models.checkpoint import disk_errors_told

_log = logging.getLogger(__name__)

#: Validation figures by kind (`pnr`, `recall@10`), then by `tower/space`.
Figures = dict[str, dict[str, float]]

_KEPT = 2
#: Of the header of a file of tensors; files of earlier versions lack it and are read unchecked.
_HASH = "xxh3_128"


class OtherRunError(ConfigError):
    """The folder holds a run with other settings or other data."""


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Args:
        stage: number of the stage.
        step: steps of it that are done.
        total_steps: steps done over all stages (as planned: a stage that ended early counts whole).
        run_hash: says which run it is.
        ended: the stage is over, and the weights are those that it leaves.
        best: best validation figure of the stage so far; None = none yet.
        since_best: validations since then.
        figures: of the weights that the stage would leave now.
    """

    stage: int
    step: int
    total_steps: int
    run_hash: str
    ended: bool = False
    best: float | None = None
    since_best: int = 0
    figures: Figures = field(default_factory=dict)


def save_checkpoint(folder: Path, files: Mapping[str, Mapping[str, Tensor]], position: Position) -> None:
    """Write a checkpoint of one safetensors file a name, and remove all but the newest two.

    Raises:
        DataError: the disk refuses; the checkpoints that were there before are as they were.
    """
    beside = folder / f".{position.total_steps:08d}.{uuid.uuid4().hex}.tmp"
    try:
        with disk_errors_told(folder):
            _write(beside, files, position)
            final = folder / f"{position.total_steps:08d}"
            shutil.rmtree(final, ignore_errors=True)
            os.replace(beside, final)
            fsync_folder(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in _numbered(folder)[:-_KEPT]:
        shutil.rmtree(old)


def _write(beside: Path, files: Mapping[str, Mapping[str, Tensor]], position: Position) -> None:
    beside.mkdir(parents=True)
    for name, tensors in files.items():
        _save(tensors, beside / f"{name}.safetensors")
        permit_as_usual(beside / f"{name}.safetensors")
        fsync_file(beside / f"{name}.safetensors")
    write_json(beside / "state.json", asdict(position))
    fsync_folder(beside)


def save_best(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the best weights of the stage so far, in place of those before."""
    (folder / "best").mkdir(parents=True, exist_ok=True)
    with disk_errors_told(folder), replacing(folder / "best" / "model.safetensors") as beside:
        _save(weights, beside)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    safetensors = require("safetensors.torch", extra="train")
    safetensors.save_file(dict(tensors), str(path), metadata={_HASH: _hash_of(tensors)})


def _hash_of(tensors: Mapping[str, Tensor]) -> str:
    parts: list[bytes] = []
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        bare = tensor.reshape(-1).view(torch.uint8).numpy().data  # no copy
        parts += [f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), cast("bytes", bare)]
    return hash_bytes(*parts)


def forget_best(folder: Path) -> None:
    """Remove the best weights of the stage before; its last checkpoint holds them."""
    shutil.rmtree(folder / "best", ignore_errors=True)


def latest_checkpoint(folder: Path, run_hash: str) -> tuple[Path, Position] | None:
    """Give the newest checkpoint and where it stands, or None; leftovers of a killed writer are removed.

    Raises:
        OtherRunError: the checkpoint belongs to a run with other settings or other data.
        CorruptIndexError: it does not say where it stands.
    """
    if not folder.is_dir():
        return None
    for stray in folder.glob(".*.tmp"):
        shutil.rmtree(stray, ignore_errors=True)
    found = _numbered(folder)
    if not found:
        return None
    position = read_position(found[-1])
    if position.run_hash != run_hash:
        raise OtherRunError(
            f"{folder.parent}: holds checkpoints of a run with other settings or data; "
            "give another run.dir, or remove the folder to start anew"
        )
    return found[-1], position


def read_position(checkpoint: Path) -> Position:
    """Give where a checkpoint stands.

    Raises:
        CorruptIndexError: it does not say.
    """
    try:
        return Position(**read_json(checkpoint / "state.json"))
    except (DataError, TypeError) as error:
        told = error if isinstance(error, DataError) else f"{checkpoint}: state.json is not of a checkpoint"
        raise CorruptIndexError(f"{told}; remove {checkpoint} to go on before it") from error


def read_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """Give the tensors of one file of a checkpoint.

    Raises:
        CorruptIndexError: it cannot be read, or does not hold what was written.
    """
    try:
        return _load(checkpoint / f"{name}.safetensors")
    except CorruptIndexError as error:
        raise CorruptIndexError(f"{error}; remove {checkpoint} to go on before it") from error


def read_best(folder: Path) -> dict[str, Tensor]:
    """Give the best weights of the stage that is under way.

    Args:
        folder: of the checkpoints.

    Raises:
        CorruptIndexError: they are gone, or not what was written.
    """
    return _load(folder / "best" / "model.safetensors")


def best_is_whole(folder: Path) -> bool:
    """Tell whether the best weights can be read; that they cannot is logged."""
    try:
        read_best(folder)
    except CorruptIndexError as error:
        _log.warning("%s; the stage goes on, and keeps the best weights of the validations to come", error)
        return False
    return True


def _load(path: Path) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = require("safetensors.torch", extra="train").load_file(str(path))
        with require("safetensors", extra="train").safe_open(str(path), "pt") as file:
            written = (file.metadata() or {}).get(_HASH)
    except Exception as error:  # safetensors raises its own error, or OSError
        raise CorruptIndexError(f"{path}: cannot be read: {error}") from error
    if written not in (None, _hash_of(found)):
        raise CorruptIndexError(f"{path}: does not hold what was written: the disk has changed it")
    return found


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.isdigit())
