"""What a refresh is not told stays as it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mmsearch.errors import DataError, IntegrityError
from mmsearch.index import ForwardIndex, list_generations
from mmsearch.index.manifest import Dtype
from mmsearch.index.sweep import names_of
from serving.settings import RefreshSettings


class SettledSettings(RefreshSettings):
    """Settings of a refresh that leave nothing open of what is served but the query tower's precision."""

    dtype: Dtype = "float16"
    """How vectors are stored."""
    served: Literal["mean", "codes"] = "mean"
    """What stands for a video in `perception` and `content`."""
    single_modalities: bool = False
    """Also store the content vector of each modality alone."""


def settle(settings: RefreshSettings, served: ForwardIndex | None) -> SettledSettings:
    """Fill in what is None: as a generation has it, or the defaults of `SettledSettings` where there is none.

    All codes are told from their mean by their number; of a model that has one code a video both are the same.
    """
    found = {} if served is None else _told_by(served)
    chosen = {name: getattr(settings, name) for name in RefreshSettings.model_fields}
    given = {name: value for name, value in chosen.items() if value is not None}
    return SettledSettings.model_construct(**chosen | _DEFAULTS | found | given)


def newest_readable(index_dir: Path) -> ForwardIndex | None:
    """Open the newest generation that can be opened, served or not; None where there is none.

    It stands in for a served one that is damaged: what replaces that is to have the same features.
    """
    for info in reversed(list_generations(index_dir) if names_of(index_dir) else []):
        try:
            return ForwardIndex.open(index_dir, info.name)
        except (DataError, IntegrityError):  # told where the served one is opened
            continue
    return None


_DEFAULTS = {name: SettledSettings.model_fields[name].default for name in ("dtype", "served", "single_modalities")}


def _told_by(served: ForwardIndex) -> dict[str, object]:
    dtypes = set(served.dtypes.values())
    return {
        "dtype": dtypes.pop() if len(dtypes) == 1 else _DEFAULTS["dtype"],
        "served": "codes" if any(space.num_codes > 1 for space in served.spaces) else "mean",
        "single_modalities": any(space.name.startswith("content.") for space in served.spaces),
    }
