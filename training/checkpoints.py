"""Checkpoints: folders of safetensors and JSON that appear whole or not at all.

`RUN/checkpoints/00000120/` holds `model.safetensors`, `optimizer.safetensors` and `state.json`. It is written under a
hidden name, fsynced and renamed; so the highest number is always a whole checkpoint, and the newest two are kept.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from mmsearch.errors import ConfigError, CorruptIndexError
from mmsearch.extras import require
from mmsearch.files import fsync_file, fsync_folder, read_json, write_json
from mmsearch.models.checkpoint import disk_errors_told, read_weights
from mmsearch.models.match import MatchModel
from training.optim import optimizer_tensors, restore_optimizer

_KEPT = 2


@dataclass(frozen=True)
class Position:
    """Where a run stands: `step` steps of stage number `stage` are done; `run_hash` says which run it is."""

    stage: int
    step: int
    total_steps: int
    run_hash: str


def save_checkpoint(folder: Path, model: MatchModel, optimizer: Optimizer, position: Position) -> None:
    """Write a checkpoint and remove all but the newest two.

    Raises:
        DataError: the disk refuses; the checkpoints that were there before are as they were.
    """
    beside = folder / f".{position.total_steps:08d}.{uuid.uuid4().hex}.tmp"
    try:
        with disk_errors_told(folder):
            _write(beside, model, optimizer, position)
            final = folder / f"{position.total_steps:08d}"
            shutil.rmtree(final, ignore_errors=True)
            os.replace(beside, final)
            fsync_folder(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in _numbered(folder)[:-_KEPT]:
        shutil.rmtree(old)


def _write(beside: Path, model: MatchModel, optimizer: Optimizer, position: Position) -> None:
    safetensors = require("safetensors.torch", extra="train")
    beside.mkdir(parents=True)
    safetensors.save_model(model, str(beside / "model.safetensors"))
    safetensors.save_file(optimizer_tensors(model, optimizer), str(beside / "optimizer.safetensors"))
    write_json(beside / "state.json", asdict(position))
    for name in ("model.safetensors", "optimizer.safetensors"):
        fsync_file(beside / name)
    fsync_folder(beside)


def latest_checkpoint(folder: Path, run_hash: str) -> tuple[Path, Position] | None:
    """Give the newest checkpoint and where it stands, or None; leftovers of a killed writer are removed.

    Raises:
        ConfigError: the checkpoint belongs to a run with other settings or other data.
        CorruptIndexError: it does not say where it stands.
    """
    if not folder.is_dir():
        return None
    for stray in folder.glob(".*.tmp"):
        shutil.rmtree(stray, ignore_errors=True)
    found = _numbered(folder)
    if not found:
        return None
    try:
        position = Position(**read_json(found[-1] / "state.json"))
    except TypeError as error:
        raise CorruptIndexError(f"{found[-1]}: state.json is not of a checkpoint; remove this folder") from error
    if position.run_hash != run_hash:
        raise ConfigError(
            f"{folder.parent}: holds checkpoints of a run with other settings or data; "
            "give another run.dir, or remove the folder to start anew"
        )
    return found[-1], position


def restore_model(checkpoint: Path, model: MatchModel) -> None:
    """Put the weights of a checkpoint into the model."""
    read_weights(model, checkpoint / "model.safetensors")


def restore_state(checkpoint: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Put the optimizer's state of a checkpoint back.

    Raises:
        CorruptIndexError: it cannot be read, or is of another model.
    """
    safetensors = require("safetensors.torch", extra="train")
    path = checkpoint / "optimizer.safetensors"
    try:
        tensors = safetensors.load_file(str(path))
    except Exception as error:  # safetensors raises its own error, or OSError
        raise CorruptIndexError(f"{path}: cannot be read: {error}; remove {checkpoint} to go on before it") from error
    restore_optimizer(model, optimizer, tensors)


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.isdigit())
