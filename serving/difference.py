"""Why vectors that are served cannot be copied: which setting, or which model, is another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmsearch.index import ForwardIndex
from mmsearch.types import Space
from serving.as_served import SettledSettings

#: So many spaces are named with their fingerprints; of a model all change together.
_MAX_NAMED = 4


def why_anew(served: ForwardIndex, spaces: Sequence[Space], settings: SettledSettings) -> str | None:
    """Tell why every video is embedded, whatever is served; None = vectors of unchanged videos can be copied.

    Args:
        served: the generation that is served.
        spaces: of the document tower.
        settings: how to embed and store.
    """
    reasons = ["anew=true"] if settings.anew else []
    if served.spaces != tuple(spaces):
        reasons += list(_differences(served.spaces, spaces, settings)) or ["the spaces stand in another order"]
    dtypes = sorted(set(served.dtypes.values()))
    if dtypes != [settings.dtype]:
        reasons.append(f"dtype={settings.dtype}, and vectors are served as {' and '.join(dtypes)}")
    return "; ".join(reasons) or None


def missing_from(spaces: Sequence[Space], others: Sequence[Space]) -> tuple[str, ...]:
    """Name the spaces that others lack."""
    names = {space.name for space in others}
    return tuple(space.name for space in spaces if space.name not in names)


def _differences(old: Sequence[Space], new: Sequence[Space], settings: SettledSettings) -> Iterator[str]:
    lost, gained = missing_from(old, new), missing_from(new, old)
    before = {space.name: space for space in old}
    both = [(before[space.name], space) for space in new if space.name in before]
    moved = [(a, b) for a, b in both if (a.fingerprint, a.dim) != (b.fingerprint, b.dim)]
    if moved:
        named = ", ".join(f"{a.name} {a.fingerprint} -> {b.fingerprint}{_sizes(a, b)}" for a, b in moved[:_MAX_NAMED])
        more = f" and {len(moved) - _MAX_NAMED} more" if len(moved) > _MAX_NAMED else ""
        yield f"another model ({named}{more})"
    codes = [f"{a.name} {a.num_codes} -> {b.num_codes}" for a, b in both if a.num_codes != b.num_codes]
    if codes:
        cause = "" if moved else f"served={settings.served}, "
        yield f"{cause}codes of a video: {', '.join(codes)}"
    if lost:
        asked = not settings.single_modalities and all(map(_is_single, lost))
        yield f"{'single_modalities=false, ' if asked else ''}features lost: {', '.join(lost)}"
    if gained:
        asked = settings.single_modalities and all(map(_is_single, gained)) and "content" in before
        yield f"{'single_modalities=true, ' if asked else ''}features new: {', '.join(gained)}"


def _sizes(a: Space, b: Space) -> str:
    return "" if a.dim == b.dim else f" of {a.dim} -> {b.dim} numbers"


def _is_single(name: str) -> bool:
    return name.startswith("content.")
