"""Which query tower scores which rows, where an index holds vectors of two models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mmsearch.errors import FingerprintError
from mmsearch.index import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, check_tower_spaces, read_query_tower
from mmsearch.index.version import Version
from mmsearch.protocols import QueryEncoder

#: Each row by the query tower of its own model; every row by the newest one, which must have been trained for it; or
#: not at all.
OnMixed = Literal["match", "newest", "refuse"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoredVersion:
    """Rows of one model, and what scores them.

    Args:
        rows: the rows.
        spaces: the spaces that can be scored, by name, as the rows' own query tower describes them.
        encoder: makes the query vectors for them.
    """

    rows: range
    spaces: Mapping[str, TowerSpace]
    encoder: QueryEncoder


def match_versions(index: ForwardIndex, encoders: Sequence[QueryEncoder], encoder_at: str) -> tuple[ScoredVersion, ...]:
    """Give each of an index's versions its encoder.

    Args:
        index: the forward index.
        encoders: one for each of the versions, in their order; or the newest one's alone.
        encoder_at: what the encoders are and where they lie, for messages.

    Raises:
        FingerprintError: an encoder and the vectors come from different models, or the newest one was not trained to
            find the documents of the older.
        CorruptIndexError: a `query_tower.json` cannot be read.
    """
    versions = index.versions
    if len(encoders) == len(versions):
        pairs = zip(versions, encoders, strict=True)
        return tuple(_own(index, version, encoder, encoder_at) for version, encoder in pairs)
    if len(encoders) != 1:
        raise FingerprintError(
            f"generation {index.generation} holds vectors of {len(versions)} models, and {len(encoders)} query "
            "encoders were given; give one for each, or the newest alone"
        )
    newest = _own(index, versions[-1], encoders[0], encoder_at)
    return (*(_compatible(index, version, newest) for version in versions[:-1]), newest)


def refuse_mixed(index: ForwardIndex) -> None:
    """Refuse an index that holds vectors of two models.

    Raises:
        FingerprintError: naming both.
    """
    if len(index.versions) > 1:
        told = " and ".join(map(_described, index.versions))
        raise FingerprintError(
            f"generation {index.generation} holds vectors of {len(index.versions)} models: {told}; finish the refresh "
            'that is under way, serve an older generation, or open it with on_mixed="match"'
        )


def _own(index: ForwardIndex, version: Version, encoder: QueryEncoder, encoder_at: str) -> ScoredVersion:
    check_tower_spaces(encoder.spaces, version.spaces, encoder_at, f"the index generation {index.generation}")
    return ScoredVersion(version.rows, _spaces_of(version), encoder)


def _compatible(index: ForwardIndex, version: Version, newest: ScoredVersion) -> ScoredVersion:
    """Let the newest encoder score an older version's rows, in the spaces in which it was trained for that."""
    found = {
        name: space
        for name, space in _spaces_of(version).items()
        if name in newest.spaces
        and newest.spaces[name].dim == space.dim
        and space.fingerprint in newest.spaces[name].compatible_with
    }
    if not found:
        raise FingerprintError(
            f"generation {index.generation}: the newest query tower was not trained to find the documents of the older "
            f'model, {_described(version)}; score each with the query tower of its own model (on_mixed="match")'
        )
    left = sorted(space.name for space in version.spaces if space.name not in found)
    if left:
        _log.warning("the newest query tower has no score for older documents in %s: missing there", ", ".join(left))
    return ScoredVersion(version.rows, found, newest.encoder)


def _spaces_of(version: Version) -> dict[str, TowerSpace]:
    held = {space.name for space in version.spaces}
    return {space.name: space for space in read_query_tower(version.query_tower).spaces if space.name in held}


def _described(version: Version) -> str:
    told = ", ".join(f"{space.name} {space.fingerprint}" for space in version.spaces)
    return f"{len(version.rows)} rows of {told} ({version.query_tower})"
