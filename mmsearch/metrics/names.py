"""Names of measures taken apart: `pnr`, `ndcg_exp@10`, `pnr(ties=ignore,min_gap=2)`, `recall(relevant=1)@10`.

A measure, its options in parentheses, its cut-off after `@`: the order in which ir-measures writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mmsearch.errors import ConfigError

#: What an option takes: one of these words, or a whole number from 1 on.
Choice = tuple[str, ...] | type[int]

_NAME = re.compile(r"([a-z_]+)(?:\(([^()]*)\))?(?:@([1-9][0-9]{0,5}))?")
_OPTION = re.compile(r"([a-z_]+)=([a-z_]+|[1-9][0-9]{0,5})")
_COMMA_OUTSIDE = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True, slots=True)
class Name:
    """A name in parts: the measure, what stands in parentheses as it is written, and the cut-off."""

    measure: str
    options: tuple[str, ...]
    k: int | None


def split_names(text: str) -> list[str]:
    """Give the names in a list with commas between, each once; blanks and the commas within parentheses stay out."""
    bare = "".join(text.split())
    return list(dict.fromkeys(name for name in _COMMA_OUTSIDE.split(bare) if name))


def parse(name: str) -> Name | None:
    """Take a name apart; None when it does not read as one."""
    parts = _NAME.fullmatch("".join(name.split()))
    if parts is None:
        return None
    written = tuple(option for option in (parts[2] or "").split(",") if option)
    return Name(parts[1], written, int(parts[3]) if parts[3] else None)


def read_options(name: str, written: tuple[str, ...], known: Mapping[str, Choice]) -> dict[str, str | int]:
    """Give the options that stand in the parentheses of a name.

    Args:
        name: the whole name, for the message.
        written: what stands there, such as `ties=ignore`.
        known: what each option takes.

    Raises:
        ConfigError: an option is unknown, stands there twice, or has a value that it does not take.
    """
    found: dict[str, str | int] = {}
    for option in written:
        parts = _OPTION.fullmatch(option)
        key, value = (parts[1], parts[2]) if parts else (option, "")
        if key not in known:
            raise ConfigError(f"{name}: no such option '{key}'; known: {_known(known)}")
        choice = known[key]
        taken = value.isdecimal() if choice is int else isinstance(choice, tuple) and value in choice
        if not taken or key in found:
            raise ConfigError(f"{name}: '{option}' is not one value of '{key}'; known: {_known({key: choice})}")
        found[key] = int(value) if choice is int else value
    return found


def _known(options: Mapping[str, Choice]) -> str:
    written = [f"{key}={'|'.join(c) if isinstance(c, tuple) else 'NUMBER'}" for key, c in options.items()]
    return ", ".join(written) or "none"
