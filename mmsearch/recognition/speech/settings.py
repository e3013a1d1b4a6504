"""What the settings of all speech recognisers share."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.errors import ConfigError


class RecogniserSettings(Settings):
    """A speech recogniser's model, and how much it is given."""

    model: str = Field(min_length=1)
    """Folder of the model; or its name, by which the library fetches it where it may."""
    device: str = "cpu"
    """Where it runs: `cpu` or `cuda`."""
    max_s: float = Field(1800.0, gt=0, le=86_400, allow_inf_nan=False)
    """Seconds of a video that are listened to, from the start."""
    max_chars: int = Field(100_000, ge=1, le=1_000_000)
    """Characters of a transcript that are kept."""
    extra_wall_s: float = Field(1800.0, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds that a video may take longer than `limits.max_wall_s` because it is listened to."""
    extra_memory_bytes: int = Field(3 << 30, ge=0, le=1 << 40)
    """Memory that a worker may use beyond `limits.max_memory_bytes` because it holds a recogniser."""

    @property
    def recipe(self) -> str:
        """Give all that segments depend on, but for the sound: settings, and size and time of the model's files."""
        limits = {"max_s", "max_chars", "extra_wall_s", "extra_memory_bytes"}
        return json.dumps([self.model_dump(mode="json", exclude=limits), _stamps(Path(self.model).expanduser())])


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def find_model(model: str) -> str:
    """Give the folder of a model, or the name that stands for it.

    Raises:
        ConfigError: it is written as a path, and there is no such folder.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    if folder.exists() or model.startswith(("/", ".", "~")):
        raise ConfigError(f"speech.model: {model}: no such folder; give the folder that holds the model's files")
    return model


def cannot_load(model: str, error: Exception) -> ConfigError:
    """Tell that a model did not load, and what does."""
    return ConfigError(
        f"speech.model: {model!r} cannot be loaded ({type(error).__name__}: {error}); "
        "download the model and give its folder, as in: speech.model=/models/whisper-base"
    )
