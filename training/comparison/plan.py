"""Which variants of a run are compared: every combination of the values that settings take."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from mmsearch.errors import ConfigError
from mmsearch.files import hash_bytes

#: Settings that the comparison itself gives to every run, and how to choose them.
_OWN = {"run.seed": "--seeds", "run.dir": "--out"}
_MAX_FOLDER_NAME = 120


@dataclass(frozen=True, slots=True)
class Varied:
    """A setting and the values that it takes, as they are written (YAML)."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A combination of values.

    Args:
        label: its name in tables: the shortest ends of the keys that tell them apart, with their values.
        folder: its name on the disk.
        overrides: `dotted.key=value` for each varied setting.
    """

    label: str
    folder: str
    overrides: tuple[str, ...]


def parse_varied(text: str) -> Varied:
    """Read `dotted.key=a,b,c`; a value may be any YAML that stands in a list, such as `[1, 2]` or `{width: 96}`.

    Raises:
        ConfigError: it is not written so, a value stands twice, or the comparison gives the setting itself.
    """
    key, equals, listed = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--vary {text}: write dotted.key=value,value,…")
    refuse_own([key])
    try:
        node = yaml.compose(f"[{listed}]", Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--vary {text}: the values are not a YAML list: {error}") from None
    nodes = node.value if isinstance(node, yaml.SequenceNode) else []
    values = tuple(listed[one.start_mark.index - 1 : one.end_mark.index - 1] for one in nodes)
    if not values or "" in values:
        raise ConfigError(f"--vary {text}: a value is missing")
    if len(set(values)) < len(values):
        raise ConfigError(f"--vary {text}: a value stands there twice")
    return Varied(key, values)


def refuse_own(names: Sequence[str]) -> None:
    """Refuse settings (or overrides) that the comparison gives to every run itself."""
    for name in names:
        key = name.partition("=")[0]
        if key in _OWN:
            raise ConfigError(f"{key} is given to every run by the comparison; choose it with {_OWN[key]}")


def make_variants(varied: Sequence[Varied]) -> list[Variant]:
    """Give every combination; the first of all values first, which the others are compared with.

    Raises:
        ConfigError: nothing is varied, or a setting twice.
    """
    keys = [one.key for one in varied]
    if not keys:
        raise ConfigError("nothing is varied; give --vary dotted.key=value,value,…")
    if len(set(keys)) < len(keys):
        raise ConfigError(f"--vary: a setting is varied twice: {', '.join(keys)}; list all of its values in one")
    short = _shortened(keys)
    return [_variant(keys, short, values) for values in itertools.product(*(one.values for one in varied))]


def _variant(keys: Sequence[str], short: Sequence[str], values: Sequence[str]) -> Variant:
    overrides = tuple(f"{key}={value}" for key, value in zip(keys, values, strict=True))
    label = ", ".join(f"{key}={value}" for key, value in zip(short, values, strict=True))
    return Variant(label, folder_name(",".join(overrides)), overrides)


def _shortened(keys: Sequence[str]) -> list[str]:
    """Give for every key the fewest of its last words, at least one that is no number, that no other key ends with."""
    found = []
    for key in keys:
        words = key.split(".")
        others = [f".{other}" for other in keys if other != key]
        ends = [".".join(words[start:]) for start in range(len(words) - 1, -1, -1)]
        unique = [end for end in ends if not end[0].isdigit() and not any(o.endswith(f".{end}") for o in others)]
        found.append(unique[0] if unique else key)
    return found


def folder_name(text: str) -> str:
    """Give a text as a name that every file system takes; what had to change is told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text).lstrip(".-")
    if plain == text and len(plain) <= _MAX_FOLDER_NAME:
        return plain
    return f"{plain[: _MAX_FOLDER_NAME - 9]}-{hash_bytes(text.encode())[:8]}"
