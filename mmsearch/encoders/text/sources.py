"""Where the weights of a text tower come from: a published model, or a model that was trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmsearch.encoders.weights import LoadReport, load_into, locate, read_tensors
from mmsearch.errors import DataError

_TEACHER = "teacher.text."


def load_tower(
    tower: nn.Module, source: str, published: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict
) -> LoadReport:
    """Fill a text tower from a path or hub name.

    Args:
        tower: what takes the weights.
        source: a safetensors file or folder of a published model or of a tower; or the folder of a model of ours, of
            which the teacher's text tower is taken.
        published: gives the tensors of the published layout the names that the tower has for them.

    Returns:
        What was taken and what was not, logged already.

    Raises:
        ConfigError: there is nothing, or shapes do not fit.
        DataError: the file is damaged.
    """
    path = locate(source)
    tensors = read_tensors(path)
    if any(name.startswith(_TEACHER) for name in tensors):
        taken: Mapping[str, Tensor] = _teacher(tensors, path)
    else:
        taken = tensors if "embed.weight" in tensors else published(tensors)
    report = load_into(tower, taken, source)
    report.log()
    return report


def _teacher(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Take the teacher's tensors. A tied one is stored once; the file's own note says under which name."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        with safe_open(file, framework="pt") as opened:
            aliases: dict[str, str] = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file}: cannot be read as safetensors: {error}") from error
    tied = {name: tensors[kept] for name, kept in aliases.items() if kept in tensors}
    named = tied | tensors
    return {name.removeprefix(_TEACHER): tensor for name, tensor in named.items() if name.startswith(_TEACHER)}
