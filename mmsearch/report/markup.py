"""HTML and SVG made of parts, with every text escaped: a text can never become markup.

A `str` is text and is escaped wherever it stands; only `Html`, which `tag` alone makes of texts, is markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, Union

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_VOID = frozenset({"br", "img", "link", "meta"})
#: Control characters, half surrogates and non-characters (XML has no place for them), and the marks that turn the
#: direction of the text that follows.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003347f]")

Child: TypeAlias = Union["Html", str, Iterable["Child"], None]
Attribute: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is known to be well-formed and safe."""

    text: str


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """Give an element.

    Args:
        name: of the element; HTML or SVG.
        children: texts (escaped), elements, iterables of both; None is nothing.
        attributes: values are escaped, None leaves the attribute out; `class_` is `class`, `stroke_width` is
            `stroke-width`.

    Raises:
        ValueError: a name of the element or of an attribute is none.
    """
    names = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    for one in (name, *(key for key, _ in names)):
        if not _NAME.fullmatch(one):
            raise ValueError(f"{one!r} is not the name of an element or attribute")
    written = "".join(f' {key}="{_escape(_number(value))}"' for key, value in names)
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children).text}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Give texts and elements one after another, as one piece of markup."""
    return Html("".join(_flat(children)))


def foreign(text: str, limit: int = 120) -> Html:
    """Give a text that somebody else wrote (a title, a query, an id): isolated, cut to `limit`, its language marked."""
    clean = " ".join(text.split())
    shown = clean if len(clean) <= limit else clean[: limit - 1] + "…"
    return tag("bdi", shown, lang="zh-Hans" if is_chinese(shown) else None)


def is_chinese(text: str) -> bool:
    """Tell whether a Chinese character stands in a text."""
    return _HAN.search(text) is not None


def _flat(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, str):
            yield _escape(child)
        elif isinstance(child, Html):
            yield child.text
        elif child is not None:
            yield from _flat(child)


def _escape(text: str) -> str:
    return html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True)


def _number(value: str | int | float) -> str:
    """Write numbers of drawings with one digit: a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
