"""Build a faiss index from the vectors of a generation, and measure what it finds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigError, DataError
from mmsearch.extras import require
from mmsearch.index.ann import sound_blocks
from mmsearch.index.ann_device import to_cpu, to_gpu
from mmsearch.index.ann_files import AnnFile, Recall, building, let_serve, save
from mmsearch.index.ann_search import Candidates, nearest_of
from mmsearch.index.ann_settings import AnnSettings, IvfPqSettings
from mmsearch.index.best import exact_best
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.logs import progress
from mmsearch.protocols import Float32
from mmsearch.types import Space

_TRAIN_PER_CENTROID = 256
_EPSILON = 1e-6


def build_ann(
    index_dir: Path, settings: AnnSettings, queries: Mapping[str, Float32] | None = None, generation: str | None = None
) -> list[AnnFile]:
    """Build faiss indexes of a generation and let them be found, one for each space; give what was built.

    With an overlay, that of its base is built: the overlay itself is searched exactly. Every code of a document is a
    vector of it. Memory: the faiss index, and 64k documents. After a crash the earlier ones are found.

    Args:
        index_dir: the forward index.
        settings: what to build, and how to measure it.
        queries: query vectors of every space by its name, each [Q, D], to measure recall with. Without them vectors of
            documents stand for queries.
        generation: the generation, by its name; the served one when None.

    Raises:
        ConfigError: the settings do not fit the vectors; the message names the space.
        DataError: there is no such space or generation, or another process builds here.
        CorruptIndexError: a file of the generation is missing or damaged.
        MissingExtraError: faiss is absent.
    """
    require("faiss", extra="faiss")
    index = ForwardIndex.open(index_dir, generation)
    if index.base is not None:
        index = ForwardIndex.open(index_dir, index.base)
    spaces = {space.name: space for space in index.spaces}
    wanted = settings.spaces or tuple(spaces)
    if unknown := [name for name in wanted if name not in spaces]:
        raise DataError(f"there is no space '{unknown[0]}' in {index.generation}; there are: {', '.join(spaces)}")
    for name in wanted:  # before hours are spent on the first of them
        _check(index, spaces[name], settings)
    with building(index_dir, index.generation) as folder:
        return [_build(index, spaces[name], settings, folder, (queries or {}).get(name)) for name in wanted]


def _check(index: ForwardIndex, space: Space, settings: AnnSettings) -> None:
    try:
        settings.structure.check(_num_vectors(index, space), space.dim)
    except ValueError as error:
        raise ConfigError(f"space '{space.name}': {settings.structure.type}: {error}") from None


def _num_vectors(index: ForwardIndex, space: Space) -> int:
    return int(np.count_nonzero(index.present(space.name))) * space.num_codes


def _build(
    index: ForwardIndex, space: Space, settings: AnnSettings, folder: Path, queries: Float32 | None
) -> AnnFile:
    start = time.perf_counter()
    built = _fill(index, space, settings)
    seconds = time.perf_counter() - start
    file, size, checksum = save(folder, f"{space.name}.{settings.structure.type}", built)
    recall = _measure(index, space, settings, built, queries)
    told = AnnFile(
        generation=index.generation,
        space=space.name,
        fingerprint=space.fingerprint,
        file=file,
        bytes=size,
        xxh3=checksum,
        num_vectors=int(built.ntotal),
        structure=settings.structure,
        overfetch=settings.overfetch,
        recall=recall,
        faiss=str(require("faiss", extra="faiss").__version__),
        seconds=round(seconds, 3),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    let_serve(folder, told)
    return told


def _fill(index: ForwardIndex, space: Space, settings: AnnSettings) -> Any:
    """Give the faiss index of all sound vectors; the id of a vector is its document's row times M, plus its code."""
    faiss = require("faiss", extra="faiss")
    num = _num_vectors(index, space)
    built = settings.structure.create(faiss, space.dim, num)
    built = to_gpu(faiss, built, settings)
    if not built.is_trained:
        built.train(_sample(index, space, settings, num))
    # only inverted lists keep ids of their own
    ided = built if isinstance(settings.structure, IvfPqSettings) else faiss.IndexIDMap(built)
    with progress(f"{settings.structure.type} of {space.name}", num // space.num_codes, unit="videos") as bar:
        for rows, vectors in sound_blocks(index, space):
            ids = (rows[:, None] * space.num_codes + np.arange(space.num_codes)).reshape(-1)
            ided.add_with_ids(vectors.reshape(-1, space.dim), ids)
            bar.advance(len(rows))
    return to_cpu(faiss, ided, settings)


def _sample(index: ForwardIndex, space: Space, settings: AnnSettings, num: int) -> Float32:
    """Give vectors to learn centroids from, drawn at random."""
    structure = settings.structure
    centroids = max(1 << structure.bits, structure.lists(num)) if isinstance(structure, IvfPqSettings) else 1
    wanted = -(-_TRAIN_PER_CENTROID * centroids // space.num_codes)
    vectors = _drawn(index, space, wanted, settings.seed)
    return vectors.reshape(-1, space.dim)


def _drawn(index: ForwardIndex, space: Space, wanted: int, seed: int) -> Float32:
    """Give the vectors of some documents, drawn at random, [N, M*D]."""
    rows = np.flatnonzero(index.present(space.name))
    if len(rows) > wanted:
        rows = np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False))
    vectors, present = index.vectors(space.name, rows)
    sound = np.isfinite(vectors).all(axis=1) & present
    return np.ascontiguousarray(vectors[sound])


def _measure(
    index: ForwardIndex, space: Space, settings: AnnSettings, built: Any, queries: Float32 | None
) -> Recall:
    measured_with = "documents" if queries is None else "queries"
    if queries is None:
        queries = _drawn(index, space, settings.num_queries, settings.seed + 1)[:, : space.dim]
    queries = np.ascontiguousarray(queries[np.isfinite(queries).all(1) & queries.any(1)][: settings.num_queries])
    told = _tower_space(index, space.name)
    at = min(settings.recall_at, _num_vectors(index, space) // space.num_codes)
    exact, _ = exact_best(index, told, queries, at)
    find = nearest_of(index, told, Candidates(built, settings.structure, settings.overfetch))
    start = time.perf_counter()
    found = [find(query, at)[0] for query in queries]
    took = time.perf_counter() - start
    shares = [np.count_nonzero(f >= e[-1] - _EPSILON) / at for f, e in zip(found, exact, strict=True)]
    value = float(np.mean(np.minimum(shares, 1))) if shares else 1.0
    per_query = round(took / max(len(queries), 1) * 1e3, 3)
    return Recall(
        at=at, value=value, num_queries=len(queries), measured_with=measured_with, ms_per_query=per_query
    )


def _tower_space(index: ForwardIndex, name: str) -> TowerSpace:
    return next(space for space in read_query_tower(index.query_tower).spaces if space.name == name)
