"""A model as a folder: `config.json`, `model.safetensors`, `tokenizer/`. No pickle, here or anywhere.

The format version counts changes of the layout; an older mmsearch refuses a newer folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import ValidationError

from mmsearch.errors import ConfigError, CorruptIndexError, DataError, FormatVersionError, MmsearchError
from mmsearch.extras import require
from mmsearch.files import read_json, replacing, write_json
from mmsearch.models.match import MatchModel
from mmsearch.models.settings import ModelSettings
from mmsearch.text import Tokenizer

FORMAT_VERSION = 2


def save_model(folder: Path | str, model: MatchModel, tokenizer: Tokenizer) -> None:
    """Write a model into a folder, the weights last: a folder with weights is a whole one.

    Raises:
        DataError: the disk refuses.
    """
    folder = Path(folder)
    write_model_config(folder, model.settings, model.spaces, tokenizer)
    safetensors = require("safetensors.torch", extra="train")
    with disk_errors_told(folder), replacing(folder / "model.safetensors") as beside:
        safetensors.save_model(model, str(beside))


def write_model_config(folder: Path, settings: ModelSettings, spaces: Collection[str], tokenizer: Tokenizer) -> None:
    """Write all of a model folder but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer")
    config = {"format_version": FORMAT_VERSION, "model": settings.model_dump(mode="json"), "spaces": list(spaces)}
    write_json(folder / "config.json", config)


@contextmanager
def disk_errors_told(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses within the block into a `DataError`; safetensors raises a kind of its own for it."""
    try:
        yield
    except (OSError, require("safetensors", extra="train").SafetensorError) as error:
        raise DataError(f"{folder}: cannot be written: {error}; make room, and the same command goes on") from error


def load_model(folder: Path | str, device: str = "cpu") -> tuple[MatchModel, Tokenizer]:
    """Read a model folder.

    Raises:
        DataError: it is not a model folder.
        FormatVersionError: another version of mmsearch wrote it.
        CorruptIndexError: the settings are no settings, or the weights do not fit them.
    """
    folder = Path(folder)
    if not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder}: no model.safetensors in it; give the folder that `training fit` wrote")
    model, tokenizer = build_model(folder)
    read_weights(model, folder / "model.safetensors")
    return model.to(device).eval(), tokenizer


def build_model(folder: Path) -> tuple[MatchModel, Tokenizer]:
    """Give the model that a folder describes, with random weights, and its tokenizer.

    Raises:
        FormatVersionError: another version of mmsearch wrote it.
        CorruptIndexError: the settings are no settings.
    """
    config = read_json(folder / "config.json")
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatVersionError(
            f"{folder}: written in model format {version}; this mmsearch reads up to {FORMAT_VERSION}: upgrade it"
        )
    if version < FORMAT_VERSION:
        raise FormatVersionError(f"{folder}: written in model format {version}, which had other towers: train it again")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    try:
        settings = ModelSettings.model_validate(config.get("model"))
    except ValidationError as error:
        raise CorruptIndexError(
            f"{folder / 'config.json'}: does not hold the settings of a model: {_first(error)}"
        ) from error
    return MatchModel(settings, tokenizer.vocab_size, config.get("spaces")), tokenizer


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'model'}: {problem['msg']}"


def read_weights(model: MatchModel, path: Path) -> None:
    """Put the weights of a safetensors file into a model; every name and shape must fit.

    Raises:
        CorruptIndexError: a weight is missing, unknown or of another shape, or the file is broken.
    """
    safetensors = require("safetensors.torch", extra="train")
    try:
        safetensors.load_model(model, str(path), strict=True)
    except MmsearchError:
        raise
    except Exception as error:  # safetensors raises its own error, RuntimeError or OSError
        raise CorruptIndexError(f"{path}: the weights cannot be read into this model: {error}") from error


def pick_device(name: str) -> torch.device:
    """Give the device of a name; `auto` is the first GPU where there is one, else the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)  # a name that torch knows may still be of a device that is not here
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device '{name}' cannot be used: {reason}; give auto, cpu, cuda or cuda:1") from error
    return device
