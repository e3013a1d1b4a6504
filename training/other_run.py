"""Which settings of a run are not those of the run that its folder holds already."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mmsearch.config import Settings
from training.checkpoints import OtherRunError

#: Differences that are told; more say no more.
_SHOWN = 6
_LONGEST = 200


@contextmanager
def differences_told(config: Path, settings: Settings, free: Collection[str]) -> Iterator[None]:
    """Say in an `OtherRunError` of the block what differs from the settings that stand in the folder.

    Args:
        config: the settings of the run that the folder holds, as YAML.
        settings: of the run that is to go on.
        free: names of settings that may differ, `run.dir`; numbers of lists left out: `stages.chunk_size`.

    Raises:
        OtherRunError: the block raised one.
    """
    try:
        yield
    except OtherRunError as error:
        raise OtherRunError(f"{error}{_told(config, settings, free)}") from None


def _told(config: Path, settings: Settings, free: Collection[str]) -> str:
    try:
        there = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # what is refused stays refused
        return ""
    found = differences(there, settings.model_dump(mode="json"), free)
    if not found:
        return (
            f". The settings are those of {config}: what was read from tables, corpora or folders of weights is not, "
            "or another version of mmsearch wrote it"
        )
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f". What differs: {'; '.join(found[:_SHOWN])}{more}"


def differences(there: object, here: object, free: Collection[str]) -> list[str]:
    """Give every setting with two values, as `stages.0.steps: 8 there, 20 here`."""
    one, other = dict(_flat(there, "")), dict(_flat(here, ""))
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    kept = [name for name in names if not _is_free(re.sub(r"\.\d+(?=\.|$)", "", name), free)]
    return [f"{name}: {_shown(one, name)} there, {_shown(other, name)} here" for name in kept]


def _flat(value: object, name: str) -> Iterator[tuple[str, Any]]:
    parts: Iterator[tuple[str, object]]
    if isinstance(value, Mapping) and value:
        parts = ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        parts = ((str(number), inner) for number, inner in enumerate(value))
    else:
        yield name, value
        return
    for key, inner in parts:
        yield from _flat(inner, f"{name}.{key}" if name else key)


def _is_free(name: str, free: Collection[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in free)


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "absent"
    text = "null" if values[name] is None else str(values[name])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
