"""What a generation holds, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import DataError
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.layout import (
    QUERY_TOWER,
    blocks_file,
    generations_of,
    present_file,
    scales_file,
    split_name,
    vectors_file,
)
from mmsearch.index.manifest import Manifest, StoredSpace, read_manifest
from mmsearch.index.recall.files import AnnFile, list_ann
from mmsearch.index.version import Version


@dataclass(frozen=True, slots=True)
class SpaceInfo:
    """A space of one model.

    Args:
        name: of the space.
        generation: the generation whose query tower it belongs to.
        fingerprint: of its model.
        dim: components of a vector.
        num_codes: vectors of a document.
        dtype: how they are stored.
        num_vectors: live documents that have one.
        missing_share: share of the live documents of this model that have none.
        bytes: what its files take, in base and overlay together.
    """

    name: str
    generation: str
    fingerprint: str
    dim: int
    num_codes: int
    dtype: str
    num_vectors: int
    missing_share: float
    bytes: int


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A generation, as a layer of what is read: its own rows, and of them tombstones; rows that it replaces below."""

    generation: str
    is_overlay: bool
    format_version: int
    num_rows: int
    num_deleted: int
    num_superseded: int
    bytes: int
    has_query_tower: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a reader of a generation finds."""

    generation: str
    num_docs: int
    num_rows: int
    has_contents: bool
    layers: tuple[LayerInfo, ...]
    spaces: tuple[SpaceInfo, ...]
    ann: tuple[AnnFile, ...]
    source: Mapping[str, Any]


def inspect(index_dir: Path, generation: str | None = None) -> Inspection:
    """Describe a generation and, under an overlay, its base. Reads which documents are present; no vectors.

    Args:
        index_dir: the index.
        generation: its name; the served one when None.

    Raises:
        DataError: nothing was published here, or there is no such generation.
        CorruptIndexError: it cannot be opened.
        FormatVersionError: a newer mmsearch wrote it.
    """
    index = ForwardIndex.open(index_dir, generation)
    names = [index.generation] if index.base is None else [index.base, index.generation]
    manifests = {name: read_manifest(generations_of(index_dir) / name, name) for name in names}
    spaces = tuple(
        _space(index, version, stored, manifests)
        for version in index.versions
        for stored in manifests[version.query_tower.parent.name].spaces
    )
    return Inspection(
        generation=index.generation,
        num_docs=index.num_docs,
        num_rows=index.num_rows,
        has_contents=index.has_contents,
        layers=tuple(_layer(name, manifest) for name, manifest in manifests.items()),
        spaces=spaces,
        ann=tuple(list_ann(index_dir, names[0])),
        source=index.source,
    )


def _layer(name: str, manifest: Manifest) -> LayerInfo:
    return LayerInfo(
        generation=name,
        is_overlay=manifest.base is not None,
        format_version=manifest.format_version,
        num_rows=manifest.num_docs,
        num_deleted=manifest.num_deleted,
        num_superseded=manifest.num_superseded,
        bytes=sum(file.bytes for file in manifest.files.values()),
        has_query_tower=any(file.startswith(f"{QUERY_TOWER}/") for file in manifest.files),
        created_at=manifest.created_at,
    )


def _space(index: ForwardIndex, version: Version, stored: StoredSpace, manifests: Mapping[str, Manifest]) -> SpaceInfo:
    """Count over the rows of one model; its files lie in each layer that has such rows."""
    rows = slice(version.rows.start, version.rows.stop)
    live = int(np.count_nonzero(index.live()[rows]))
    num_vectors = int(np.count_nonzero(index.present(stored.name)[rows]))
    layers = [manifest for manifest in manifests.values() if stored in manifest.spaces]
    files = [vectors_file(stored.name), present_file(stored.name), scales_file(stored.name), blocks_file(stored.name)]
    return SpaceInfo(
        name=stored.name,
        generation=version.query_tower.parent.name,
        fingerprint=stored.fingerprint,
        dim=stored.dim,
        num_codes=stored.num_codes,
        dtype=stored.dtype,
        num_vectors=num_vectors,
        missing_share=1 - num_vectors / live if live else 0.0,
        bytes=sum(layer.files[name].bytes for layer in layers for name in files if name in layer.files),
    )


def find_generation(index_dir: Path, told: str) -> str:
    """Give the name of a generation that was named in full or by its number (`7`, `g000007`).

    Raises:
        DataError: there is none such, or several: the message names those that there are.
    """
    folder = generations_of(index_dir)
    names = sorted(path.name for path in folder.iterdir() if split_name(path.name)) if folder.is_dir() else []
    number = told.removeprefix("g")
    meant = f"g{int(number):06d}-" if number.isascii() and number.isdigit() else told
    found = [name for name in names if name == told or (meant != told and name.startswith(meant))]
    if len(found) != 1:
        what = "there is no generation" if not found else "several generations are called"
        raise DataError(f"{index_dir}: {what} {told!r}; there are: {', '.join(names) or 'none'}")
    return found[0]
