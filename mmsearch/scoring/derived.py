"""Features that are made of others, or of the same dots in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Modality

_SINGLE = tuple(f"content.{modality}" for modality in Modality)
_FALLBACK = ("cover", "frames")
_SPREAD = ("perception", "content")


@dataclass(frozen=True, slots=True)
class Derived:
    """A feature that is a function of features of spaces.

    Args:
        name: of the feature.
        parts: the spaces that it is made of; it is not computed before all of them are.
        definition: what it is, for people.
        combine: values (0 where missing) and missing flags of the parts, [parts, N], to those of the feature, [N].
    """

    name: str
    parts: tuple[str, ...]
    definition: str
    combine: Callable[[Float32, Bool], tuple[Float32, Bool]]


def derived_from(spaces: Sequence[str]) -> tuple[Derived, ...]:
    """Give the features that can be made of the scores of some spaces; none that has the name of a space itself.

    - `max_modality`: highest score over the spaces of a single modality that the document has: `content.X` of every
      modality X, or else `cover` and `frames`. Missing where all of them are. There must be two of them.
    - `spread`: `perception` minus `content`, in [-2, 2]: a clickbait signal, for it is high where cover and title
      promise more than the video holds. Missing where one of them is.
    """
    single = tuple(name for name in _SINGLE if name in spaces)
    if len(single) < 2:
        single = tuple(name for name in _FALLBACK if name in spaces)
    offered = []
    if len(single) >= 2:
        told = f"Highest of {', '.join(single)}: the best match of one modality alone, over those that the video has."
        offered.append(Derived("max_modality", single, told, _highest))
    if set(_SPREAD) <= set(spaces):
        told = "perception minus content: high where title and cover promise more than the video holds (clickbait)."
        offered.append(Derived("spread", _SPREAD, told, _difference))
    return tuple(one for one in offered if one.name not in spaces)


def poly_name(space: str) -> str:
    """Give the name of a space's poly feature."""
    return f"{space}.poly"


def poly_of(spaces: Iterable[TowerSpace]) -> dict[str, str]:
    """Give the spaces that get a poly feature, and its name, from the spaces of all models of an index.

    It is the softmax-weighted score over a document's codes (arXiv:1905.01969 eq. 3 and 4; `weighted` in
    `mmsearch.index.codes`), and stands beside the score by which the model was trained, where that is another one.
    """
    spaces = list(spaces)
    taken = {space.name for space in spaces}
    several = (space.name for space in spaces if space.num_codes > 1 and space.selection != "weighted")
    return {name: poly_name(name) for name in several if poly_name(name) not in taken}


def as_poly(space: TowerSpace) -> TowerSpace:
    """Give a space as its poly feature scores it."""
    return space.model_copy(update={"selection": "weighted"})


def _highest(values: Float32, missing: Bool) -> tuple[Float32, Bool]:
    none = np.asarray(missing.all(axis=0))
    highest = np.asarray(np.where(missing, np.float32(-np.inf), values).max(axis=0))
    highest[none] = 0
    return highest, none


def _difference(values: Float32, missing: Bool) -> tuple[Float32, Bool]:
    either = np.asarray(missing.any(axis=0))
    difference = values[0] - values[1]
    difference[either] = 0
    return difference, either
