"""Find pretrained files: a local path as it is, or a name in the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from mmsearch.errors import ConfigError
from mmsearch.extras import require

#: What is fetched of a repository: nothing that is opened by unpickling.
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
_FILES = (".safetensors", ".bin", ".pt", ".pth", ".pyth", ".ckpt")


def locate(source: str, what: str = "weights", wanted: tuple[str, ...] = _WANTED) -> Path:
    """Give the local file or folder of something pretrained; a hub name (`org/name`) is fetched once.

    Args:
        source: a path, or a name in the hub.
        what: how messages call it.
        wanted: patterns of the files to fetch; pickles never are.

    Raises:
        ConfigError: no such path, and no such name in the hub or (offline) in its local cache.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) or path.suffix in _FILES:
        raise ConfigError(f"{what} '{source}': no such file or folder, and not a hub name such as 'timm/resnet50'")
    hub = require("huggingface_hub", extra="train")
    try:
        return Path(hub.snapshot_download(source, allow_patterns=list(wanted)))
    except (OSError, RuntimeError, ValueError) as error:
        include = " ".join(f"--include '{pattern}'" for pattern in wanted)
        raise ConfigError(
            f"{what} '{source}': no such local path, and the hub gave nothing ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}). Where there is a network, run: hf download {source} {include} "
            f"--local-dir DIR; then give DIR, or any local path that holds the same files"
        ) from error
