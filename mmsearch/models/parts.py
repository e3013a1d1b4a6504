"""Parts of a model by the beginnings of its parameters' names."""

from __future__ import annotations

from collections.abc import Iterable


def in_part(name: str, parts: Iterable[str]) -> bool:
    """Tell whether a parameter belongs to one of some parts: those are whole names between dots, or several.

    `document.image.vit.blocks.1` is a part, and `document.image.vit.blocks.10` none of it.
    """
    return any(name == part or name.startswith(f"{part.removesuffix('.')}.") for part in parts)
