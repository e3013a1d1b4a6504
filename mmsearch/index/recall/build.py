"""Build a faiss index from the vectors of a generation, and measure what it finds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import DataError
from mmsearch.extras import require
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.index.recall.approximate import Candidates, nearest_of
from mmsearch.index.recall.device import to_cpu, to_gpu
from mmsearch.index.recall.files import AnnFile, Recall, building, let_serve, save
from mmsearch.index.recall.nearest import exact_best, sound_blocks
from mmsearch.index.recall.settings import AnnSettings
from mmsearch.index.recall.structure import create, num_to_train
from mmsearch.logs import progress
from mmsearch.protocols import Float32

#: Scores that differ by less came out of sums in another order.
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
    faiss = require("faiss", extra="faiss")
    index = ForwardIndex.open(index_dir, generation)
    if index.base is not None:
        index = ForwardIndex.open(index_dir, index.base)
    spaces = _spaces(index, settings)
    for space in spaces:  # what cannot be built is told before an hour is spent on another space
        create(faiss, settings.structure, space.dim, _num_vectors(index, space))
    with building(index_dir, index.generation) as folder:
        return [_build(index, space, settings, folder, (queries or {}).get(space.name)) for space in spaces]


def _spaces(index: ForwardIndex, settings: AnnSettings) -> list[TowerSpace]:
    tower = {space.name: space for space in read_query_tower(index.query_tower).spaces}
    there = [space.name for space in index.spaces]
    wanted = settings.spaces or tuple(there)
    if unknown := [name for name in wanted if name not in there]:
        raise DataError(f"there is no space '{unknown[0]}' in {index.generation}; there are: {', '.join(there)}")
    return [tower[name] for name in wanted]


def _num_vectors(index: ForwardIndex, space: TowerSpace) -> int:
    return int(np.count_nonzero(index.present(space.name))) * space.num_codes


def _build(
    index: ForwardIndex, space: TowerSpace, settings: AnnSettings, folder: Path, queries: Float32 | None
) -> AnnFile:
    start = time.perf_counter()
    built = _fill(index, space, settings)
    seconds = time.perf_counter() - start
    file, size, checksum = save(folder, f"{space.name}.{settings.structure.type}", built)
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
        recall=_measure(index, space, settings, built, queries),
        faiss=str(require("faiss", extra="faiss").__version__),
        seconds=round(seconds, 3),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    let_serve(folder, told)
    return told


def _fill(index: ForwardIndex, space: TowerSpace, settings: AnnSettings) -> Any:
    """Give the faiss index of all sound vectors; the id of a vector is its document's row times M, plus its code."""
    faiss = require("faiss", extra="faiss")
    structure, num = settings.structure, _num_vectors(index, space)
    built = create(faiss, structure, space.dim, num)
    if structure.type != "ivf_pq":  # nothing to learn, and no ids of its own
        return _add_all(faiss.IndexIDMap(built), index, space)
    built = to_gpu(faiss, built, structure.type, settings.device)
    drawn = _drawn(index, space, -(-num_to_train(structure, num) // space.num_codes), settings.seed)
    built.train(drawn.reshape(-1, space.dim))
    return to_cpu(faiss, _add_all(built, index, space))


def _add_all(built: Any, index: ForwardIndex, space: TowerSpace) -> Any:
    with progress(f"add {space.name}", index.num_docs, unit="videos") as bar:
        for rows, vectors in sound_blocks(index, space):
            ids = (rows[:, None] * space.num_codes + np.arange(space.num_codes)).reshape(-1)
            built.add_with_ids(vectors.reshape(-1, space.dim), ids)
            bar.advance(len(rows))
    return built


def _drawn(index: ForwardIndex, space: TowerSpace, wanted: int, seed: int) -> Float32:
    """Give the vectors of some documents, drawn at random, [N, M*D]."""
    rows = np.flatnonzero(index.present(space.name))
    if len(rows) > wanted:
        rows = np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False))
    vectors, present = index.vectors(space.name, rows)
    return np.ascontiguousarray(vectors[present & np.isfinite(vectors).all(axis=1)])


def _measure(
    index: ForwardIndex, space: TowerSpace, settings: AnnSettings, built: Any, given: Float32 | None
) -> Recall:
    """Search for queries, or for the first codes of documents where none were given, and compare with the best."""
    if given is None:
        given = _drawn(index, space, settings.num_queries, settings.seed + 1)[:, : space.dim]
        measured_with = "documents"
    else:
        given, measured_with = given[np.isfinite(given).all(1) & given.any(1)][: settings.num_queries], "queries"
    queries = np.ascontiguousarray(given, np.float32)
    at = min(settings.recall_at, int(built.ntotal) // space.num_codes)
    exact, _ = exact_best(index, space, queries, at)
    find = nearest_of(index, space, Candidates(built, settings.structure, settings.overfetch))
    start = time.perf_counter()
    found = [find(query, at)[0] for query in queries]
    milliseconds = (time.perf_counter() - start) * 1e3 / max(len(queries), 1)
    shares = [np.count_nonzero(f >= e[-1] - _EPSILON) / at for f, e in zip(found, exact, strict=True)]
    return Recall(
        at=at,
        value=float(np.mean(shares)) if shares else 1.0,
        num_queries=len(queries),
        measured_with=measured_with,
        ms_per_query=round(milliseconds, 3),
    )
