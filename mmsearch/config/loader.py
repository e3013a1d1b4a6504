"""Read settings: a YAML file, at most one parent (`extends:`), then `dotted.key=value` overrides.

Errors name the file and line of the setting and suggest the nearest known name:
`cover.yaml:12: optim.lrr: no such setting; did you mean 'lr'?`
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mmsearch.config.base import Settings
from mmsearch.errors import ConfigError

S = TypeVar("S", bound=Settings)
Location = tuple[str | int, ...]
Places = dict[Location, str]

_MAX_PARENTS = 8


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number (PyYAML follows YAML 1.1, where it is a string)."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_settings(schema: type[S], path: Path | str | None = None, overrides: Sequence[str] = ()) -> S:
    """Read settings of one class.

    Args:
        schema: the settings class.
        path: a YAML file; None = the defaults. `extends: other.yaml` in it (relative to it) is read first; mappings
            are merged key by key, lists and values replaced; a mapping of another `type` replaces its parent whole.
        overrides: `dotted.key=value`, the value read as YAML; a list item is named by its number (`stages.0.steps=5`).

    Returns:
        The validated, frozen settings.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value does not fit; every problem is listed.
    """
    tree: Any = {}
    places: Places = {}
    if path is not None:
        tree, places = _read(Path(path), depth=0)
    for override in sorted(overrides, key=_names_no_type):
        _override(schema, tree, places, override)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(schema, details, places, path) for details in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def load_arguments(schema: type[S], arguments: Sequence[str]) -> S:
    """Read settings from what stands on a command line: at most one YAML file, first, then `dotted.key=value`."""
    first = Path(arguments[0]) if arguments and "=" not in arguments[0] else None
    return load_settings(schema, first, arguments[1:] if first else arguments)


def _read(path: Path, depth: int) -> tuple[dict[str, Any], Places]:
    if depth > _MAX_PARENTS:
        raise ConfigError(f"{path}: 'extends' goes deeper than {_MAX_PARENTS} files; is there a circle?")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: the file must hold a mapping of settings (`name: value` lines)")
    places: Places = {}
    tree = _build(node, path, (), places)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree, places
    base, base_places = _read(path.parent / str(parent), depth + 1)
    return _merge(base, tree), base_places | places


def _build(node: yaml.Node, path: Path, at: Location, places: Places) -> Any:
    places[at] = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in mapping:
                raise ConfigError(f"{path}:{key_node.start_mark.line + 1}: {_dotted((*at, key))}: given twice")
            mapping[key] = _build(value_node, path, (*at, key), places)
            places[(*at, key)] = f"{path}:{key_node.start_mark.line + 1}"
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, path, (*at, i), places) for i, item in enumerate(node.value)]
    return _Loader("").construct_object(node)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    if "type" in over and over["type"] != base.get("type"):
        return over  # the settings of one kind mean nothing to another
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _names_no_type(override: str) -> bool:
    """Sort key: what chooses a `type` comes first, for it empties the mapping that it stands in."""
    return not override.partition("=")[0].endswith(".type")


def _override(schema: type[BaseModel], tree: dict[str, Any], places: Places, text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text}: an override is written dotted.key=value")
    keys: list[str | int] = [int(k) if k.isdigit() else k for k in name.split(".")]
    at: Any = tree
    for key, following in itertools.pairwise(keys):
        if isinstance(at, dict):
            at = at.setdefault(key, [] if isinstance(following, int) else {})
        elif isinstance(at, list) and isinstance(key, int) and key < len(at):
            at = at[key]
        else:
            raise ConfigError(f"{text}: {_no_room(schema, keys[: keys.index(key)], at, name)}")
    try:
        parsed = yaml.load(value, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{text}: the value is not valid YAML") from error
    if keys[-1] == "type" and isinstance(at, dict) and at.get("type") != parsed:
        at.clear()
    try:
        at[keys[-1]] = parsed
    except (TypeError, IndexError) as error:
        raise ConfigError(f"{text}: {_no_room(schema, keys[:-1], at, name)}") from error
    for stale in [at for at in places if at[: len(keys)] == tuple(keys)]:  # of what stood there before
        del places[stale]
    places[tuple(keys)] = "command line"


def _no_room(schema: type[BaseModel], keys: Sequence[str | int], at: Any, name: str) -> str:
    """Tell that no setting can stand below a value; where the value is short for a setting there, tell that too."""
    if not isinstance(at, str):
        return f"there is no setting at '{name}'"
    short = [field for c in _classes_at(schema, tuple(keys)) for field in c.model_fields if at in _choices(c, field)]
    where = _dotted(tuple(keys))
    hint = f"; write {where}.{short[0]}={at}" if short else ""
    return f"'{where}' is given as '{at}', so there is no setting at '{name}'{hint}"


def _choices(schema: type[BaseModel], name: str) -> tuple[Any, ...]:
    return tuple(getattr(schema.model_fields[name].annotation, "__args__", ()))


def _explain(schema: type[BaseModel], details: ErrorDetails, places: Places, path: Path | str | None) -> str:
    location = tuple(details["loc"])
    written = _without_tags(schema, location)
    where = next((places[written[:n]] for n in range(len(written), -1, -1) if written[:n] in places), None)
    where = where or str(path or "settings")
    name = _dotted(written) or "settings"
    if details["type"] == "extra_forbidden":
        known = _fields_at(schema, location[:-1])
        near = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known)) or 'nothing'}"
        return f"{where}: {name}: no such setting; {hint}"
    if details["type"] == "missing":
        return f"{where}: {name}: this setting is required"
    given = details["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | type(None)) else ""
    return f"{where}: {name}: {details['msg'].removeprefix('Value error, ')}{shown}"


def _without_tags(schema: type[BaseModel], location: Location) -> Location:
    """Give a place as settings files name it: without the members of unions that pydantic puts in between."""

    def is_tag(place: int, key: str | int) -> bool:
        classes = _classes_at(schema, location[:place])
        return key in {*map(_tag, classes), *(c.__name__ for c in classes)} - {
            n for c in classes for n in c.model_fields
        }

    return tuple(key for place, key in enumerate(location) if isinstance(key, int) or not is_tag(place, key))


def _fields_at(schema: type[BaseModel], location: Location) -> set[str]:
    """Give the names of the settings at a place; through unions, of every class that may stand there."""
    return {name for c in _classes_at(schema, location) for name in c.model_fields}


def _classes_at(schema: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    classes: list[type[BaseModel]] = [schema]
    for key in location:
        if isinstance(key, int):
            continue
        inner = [field.annotation for c in classes if (field := c.model_fields.get(key))]
        tagged = [c for c in classes if c.__name__ == key or _tag(c) == key]
        classes = tagged or [c for annotation in inner for c in _classes_in(annotation)]
    return classes


def _tag(schema: type[BaseModel]) -> Any:
    field = schema.model_fields.get("type")
    return None if field is None else field.default


def _classes_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [c for argument in getattr(annotation, "__args__", ()) for c in _classes_in(argument)]


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
