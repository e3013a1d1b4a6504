"""Where the weights of a frame tower come from: a published model, or a model that was trained here."""

from __future__ import annotations

from torch import Tensor

from mmsearch.encoders.weights import locate, read_tensors

#: How names begin that belong to the frame tower of a match model.
_OURS = "document.frame."


def read_source(source: str, part: str = "") -> dict[str, Tensor]:
    """Read the weights of a path or hub name.

    Args:
        source: a safetensors file or folder of a published model, or of one that was trained here.
        part: of our frame tower, `trunk.` say: of a model that was trained here, this alone is read.

    Returns:
        The tensors by their names in the tower, or in that part of it.

    Raises:
        ConfigError: there is nothing, or it is a pickle.
        DataError: the file is damaged.
    """
    tensors = read_tensors(locate(source))
    prefix = _OURS + part
    ours = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return ours or tensors
