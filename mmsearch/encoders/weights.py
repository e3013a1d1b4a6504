"""Pretrained weights: find them, read them without running code, and say what did and did not fit."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import read_json, replacing
from mmsearch.hub import locate

__all__ = ["LoadReport", "convert", "load_into", "locate", "read_tensors"]

logger = logging.getLogger(__name__)

_PICKLES = (".bin", ".pt", ".pth", ".pyth", ".ckpt")
_WRAPPERS = ("state_dict", "model", "model_state")
_SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """What a tower took from a source.

    Args:
        source: where the weights came from.
        loaded: how many tensors were taken.
        missing: tensors of the tower that the source lacks; they keep the values they were made with.
        unexpected: tensors of the source that the tower has no place for.
    """

    source: str
    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def log(self) -> None:
        """Log the counts, and a warning with the names of what is missing or unexpected, if anything is."""
        counts = f"{self.loaded} loaded, {len(self.missing)} missing, {len(self.unexpected)} unexpected"
        logger.info("weights from %s: %s", self.source, counts)
        for what, names in (("not in the file, left random", self.missing), ("not used", self.unexpected)):
            if names:
                logger.warning("weights from %s: %s: %s", self.source, what, _first(names))


def read_tensors(
    path: Path, prefer: tuple[str, ...] = ("model.safetensors", "open_clip_model.safetensors")
) -> dict[str, Tensor]:
    """Read a .safetensors file, or the one (or the shards) of a folder; nothing is ever unpickled.

    Tied weights of models saved here come under all their names.

    Args:
        path: the file or folder.
        prefer: names looked for first in a folder, in this order: some hold the same model in two layouts.

    Raises:
        ConfigError: there is no safetensors file, or it cannot be told which of several is meant.
        DataError: a file is damaged, or shards are missing.
    """
    if path.is_dir():
        return _read_folder(path, prefer)
    if path.suffix in _PICKLES:
        raise ConfigError(
            f"{path} is a pickle, which may run code when opened; convert it once with: "
            f"python -m training convert {path} {path.with_suffix('.safetensors')}"
        )
    try:
        tensors: dict[str, Tensor] = load_file(path)
        with safe_open(path, "pt") as file:
            noted: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}; fetch or convert it again") from error
    # tied weights are stored once; `safetensors.torch.save_model` notes their other names beside them
    return {name: tensors[stored] for name, stored in noted.items() if stored in tensors} | tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    """Copy tensors into the parameters and buffers of the same names, cast to their types.

    Args:
        module: what takes them; untouched when an error is raised.
        tensors: by the module's own names.
        source: named in messages and in the report.

    Raises:
        ConfigError: shapes or kinds (whole numbers for real ones) differ, all of them listed; or no name fits.
    """
    own: dict[str, Tensor] = module.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own}
    wrong = [_difference(name, tensor, own[name]) for name, tensor in fitting.items() if _differ(tensor, own[name])]
    if wrong:
        raise ConfigError(f"weights from {source} do not fit the tower:\n" + "\n".join(f"  {line}" for line in wrong))
    if not fitting:
        raise ConfigError(
            f"weights from {source}: not one name fits. The tower has {_first(sorted(own))}; "
            f"the file has {_first(sorted(tensors)) or 'nothing'}"
        )
    module.load_state_dict(fitting, strict=False)
    missing = tuple(name for name in own if name not in tensors)
    unexpected = tuple(name for name in tensors if name not in own)
    return LoadReport(source, len(fitting), missing, unexpected)


def convert(source: Path, out: Path) -> int:
    """Write the tensors of a PyTorch pickle as safetensors, by explicit wish: the one place that opens a pickle.

    torch's restricted unpickler is used, which builds tensors and plain containers only. A mapping of tensors is
    looked for under `state_dict`, `model` and `model_state`; a `module.` before every name (of a parallel wrapper)
    is taken off; what is not a tensor is left out.

    Returns:
        How many tensors were written.

    Raises:
        ConfigError: the file holds more than tensors and plain containers, or no tensors.
        DataError: there is no such file, or it is damaged.
    """
    tensors = _named_tensors(_unpickle(source))
    if not tensors:
        raise ConfigError(f"{source}: holds no mapping of names to tensors, not under {', '.join(_WRAPPERS)} either")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    # safetensors refuses tensors that share memory (tied weights, slices): every one gets its own
    own = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with replacing(out) as beside:
        save_file(own, beside, metadata={"format": "pt"})
    return len(own)


def _read_folder(folder: Path, prefer: tuple[str, ...]) -> dict[str, Tensor]:
    for name in prefer:
        if (folder / name).is_file():
            return read_tensors(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return _read_shards(folder / f"{name}.index.json")
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return read_tensors(found[0])
    if found:
        raise ConfigError(f"{folder}: holds {_first([file.name for file in found])}; name the file that is meant")
    for file in sorted(folder.iterdir()):
        if file.suffix in _PICKLES:
            return read_tensors(file)
    raise ConfigError(
        f"{folder}: holds no .safetensors; if the model is published as a pickle only (pytorch_model.bin), download "
        f"that and convert it once with: python -m training convert pytorch_model.bin {folder / 'model.safetensors'}"
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    tree = read_json(index)
    shards: Any = tree.get("weight_map") if isinstance(tree, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise DataError(f"{index}: has no 'weight_map' of tensor names to files; fetch it again")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(shards.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise DataError(f"{index}: '{name}' is not the name of a .safetensors file beside it")
        tensors |= read_tensors(index.parent / name)
    absent = sorted(set(shards) - set(tensors))
    if absent:
        raise DataError(f"{index}: the shards lack {_first(absent)}; fetch them again")
    return tensors


def _differ(given: Tensor, own: Tensor) -> bool:
    return given.shape != own.shape or given.is_floating_point() != own.is_floating_point()


def _difference(name: str, given: Tensor, own: Tensor) -> str:
    if given.shape != own.shape:
        return f"{name}: the file has {list(given.shape)}, the tower {list(own.shape)}"
    return f"{name}: the file has {given.dtype}, the tower {own.dtype}"


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path}: holds more than tensors, which may run code; save its state_dict() alone where you trust it "
            f"({str(error).strip().splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is no readable PyTorch file (TorchScript archives are none): {error}") from error


def _named_tensors(tree: Any) -> dict[str, Tensor]:
    if not isinstance(tree, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(tree.get(wrapper), Mapping):
            return _named_tensors(tree[wrapper])
    return {str(name): value for name, value in tree.items() if isinstance(value, Tensor)}


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
