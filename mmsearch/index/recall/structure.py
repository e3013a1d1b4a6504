"""faiss indexes as settings describe them."""

from __future__ import annotations

import math
from typing import Any, assert_never

from mmsearch.errors import ConfigError
from mmsearch.index.recall.settings import FlatSettings, HnswSettings, IvfPqSettings, Structure

#: faiss wants so many vectors to learn from for each centroid, and warns below; more than the other it does not use.
_MIN_PER_CENTROID, _MAX_PER_CENTROID = 39, 256


def create(faiss: Any, structure: Structure, dim: int, num_vectors: int) -> Any:
    """Give an empty faiss index by inner product, to be trained where it has to be.

    Raises:
        ConfigError: it cannot be trained on so few vectors, or does not fit the dimension.
    """
    match structure:
        case FlatSettings():
            return faiss.IndexFlatIP(dim)
        case HnswSettings():
            return _hnsw(faiss, structure, dim)
        case IvfPqSettings():
            return _ivf_pq(faiss, structure, dim, num_vectors)
    assert_never(structure)


def _hnsw(faiss: Any, structure: HnswSettings, dim: int) -> Any:
    if structure.stored == "float32":
        built = faiss.IndexHNSWFlat(dim, structure.links, faiss.METRIC_INNER_PRODUCT)
    else:
        half = faiss.ScalarQuantizer.QT_fp16
        built = faiss.IndexHNSWSQ(dim, half, structure.links, faiss.METRIC_INNER_PRODUCT)
    built.hnsw.efConstruction = structure.ef_construction
    return built


def _ivf_pq(faiss: Any, structure: IvfPqSettings, dim: int, num_vectors: int) -> Any:
    pieces = structure.num_subvectors or next(n for n in range(max(1, dim // 4), 0, -1) if dim % n == 0)
    if dim % pieces:
        raise ConfigError(f"ivf_pq: num_subvectors={pieces} does not divide the dimension {dim}")
    wanted = _MIN_PER_CENTROID * _num_centroids(structure, num_vectors)
    if num_vectors < wanted:
        raise ConfigError(f"ivf_pq: {num_vectors} vectors are too few to learn from (it takes {wanted}); take hnsw")
    lists = _num_lists(structure, num_vectors)
    built = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, lists, pieces, structure.bits, faiss.METRIC_INNER_PRODUCT)
    built.cp.spherical = True  # centroids of unit vectors, compared by inner product, must be of one length
    return built


def _num_lists(structure: IvfPqSettings, num_vectors: int) -> int:
    enough = min(int(4 * math.sqrt(num_vectors)), num_vectors // _MIN_PER_CENTROID)
    return structure.num_lists or max(1, enough)


def _num_centroids(structure: IvfPqSettings, num_vectors: int) -> int:
    return max(1 << structure.bits, _num_lists(structure, num_vectors))


def num_to_train(structure: Structure, num_vectors: int) -> int:
    """Give the number of vectors that a structure learns from, at most."""
    if isinstance(structure, IvfPqSettings):
        return min(num_vectors, _MAX_PER_CENTROID * _num_centroids(structure, num_vectors))
    return min(num_vectors, 1)


def parameters(faiss: Any, structure: Structure, num: int) -> Any:
    """Give what faiss is told with a search for `num` vectors; None where there is nothing to tell."""
    match structure:
        case FlatSettings():
            return None
        case HnswSettings():
            return faiss.SearchParametersHNSW(efSearch=max(structure.ef_search, num))
        case IvfPqSettings():
            return faiss.SearchParametersIVF(nprobe=structure.num_probes)
    assert_never(structure)
