"""Where the weights of a text tower come from: a published model, or a model that was trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from mmsearch.encoders.weights import LoadReport, load_into, locate, read_tensors

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
    tensors = read_tensors(locate(source))
    if any(name.startswith(_TEACHER) for name in tensors):
        taken: Mapping[str, Tensor] = {
            name.removeprefix(_TEACHER): tensor for name, tensor in tensors.items() if name.startswith(_TEACHER)
        }
    else:
        taken = tensors if "embed.weight" in tensors else published(tensors)
    report = load_into(tower, taken, source)
    report.log()
    return report
