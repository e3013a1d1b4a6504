"""Structures of approximate search, and how many neighbours they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Tag

from mmsearch.config import Settings, by_type


class FlatSettings(Settings):
    """All vectors one after another, in float32: nothing is missed. For a GPU, or to compare the others with."""

    type: Literal["flat"] = "flat"
    """What is built."""


class HnswSettings(Settings):
    """A graph of neighbours (arXiv:1603.09320): quick, nearly exact, more memory than the vectors themselves.

    A vector takes about `2 * dim + 8 * links` bytes with float16, `4 * dim + 8 * links` with float32.
    """

    type: Literal["hnsw"] = "hnsw"
    """What is built."""
    links: Annotated[int, Field(ge=4, le=256)] = 32
    """Neighbours of a vector in each upper layer; twice as many in the lowest one (M of the paper)."""
    ef_construction: Annotated[int, Field(ge=8, le=4096)] = 100
    """Candidates looked at while a vector is linked. More: better and slower to build."""
    ef_search: Annotated[int, Field(ge=1, le=1 << 16)] = 256
    """Candidates looked at for a query, at least; never fewer than are asked for."""
    stored: Literal["float16", "float32"] = "float16"
    """How the graph keeps its own copy of the vectors."""


class IvfPqSettings(Settings):
    """Inverted lists of product-quantised vectors (Jégou et al., 2011): small and less exact.

    A vector takes `num_subvectors * bits / 8 + 8` bytes. Candidates are scored anew with the vectors of the forward
    index, so that the order of what is found is exact; what is not found stays so.
    """

    type: Literal["ivf_pq"] = "ivf_pq"
    """What is built."""
    num_lists: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    """Inverted lists; unset: 4 * sqrt(vectors), or fewer where a list would have less than 39 to learn from."""
    num_probes: Annotated[int, Field(ge=1)] = 32
    """Lists that a query looks into."""
    num_subvectors: Annotated[int, Field(ge=1)] | None = None
    """Pieces that a vector is cut into, a divisor of its dimension; unset: one for every 4 components, or
    the next smaller divisor."""
    bits: Annotated[int, Field(ge=4, le=8)] = 8
    """Bits of a piece's code."""


Structure = Annotated[
    Annotated[FlatSettings, Tag("flat")]
    | Annotated[HnswSettings, Tag("hnsw")]
    | Annotated[IvfPqSettings, Tag("ivf_pq")],
    by_type("hnsw"),
]


class AnnSettings(Settings):
    """What is built for approximate search, and how its recall is measured."""

    structure: Structure = Field(default_factory=HnswSettings)
    """`type: hnsw | ivf_pq | flat` and its settings."""
    spaces: tuple[str, ...] | None = None
    """Spaces to build it for; unset: all of them."""
    overfetch: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Candidates for each result that is asked for; they are scored anew with the vectors of the forward index."""
    queries: Path | None = None
    """Queries, one a line, to measure recall with. Unset: vectors of documents drawn at random stand for them, which is
    easier: queries lie further from documents than these from each other."""
    num_queries: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Queries (or documents in their place) that recall is measured with, at most."""
    recall_at: Annotated[int, Field(ge=1, le=10_000)] = 100
    """How many of the best documents should be found."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where flat and ivf_pq are built and searched: `auto` takes a GPU where faiss has one. hnsw runs on the CPU."""
    seed: int = 0
    """Draws what is trained on, and the documents that stand for queries."""
