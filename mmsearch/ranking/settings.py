"""Settings of a final ranker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmsearch.config import Settings

#: What a grade is worth to LambdaMART: 2^grade - 1, or the grade.
Gain = Literal["exponential", "linear"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class RankSettings(Settings):
    """How LambdaMART is fitted on rank features, and what it is compared with."""

    aspect: str = "overall"
    """Which aspect of the judgments counts."""
    features: Names | None = None
    """Features of the index that the ranker gets; None = all that the index gives."""
    columns: Names | None = None
    """Columns of the user's table that it gets; None = all but `query` and `doc_id`."""
    baseline: tuple[str, ...] | None = None
    """Features of the ranker that all others are compared with; None = the user's columns, or else the features of one
    text alone (`content.title` …). Without any it puts all videos level."""
    compare: bool = True
    """Fit the baseline, and the baseline with each other feature, to see what each adds."""
    num_seeds: int = Field(default=3, ge=1, le=100)
    """Fits of each set of features that figures are averaged over; the first seed's ranker is the one that is kept."""
    seed: int = Field(default=0, ge=0, le=1_000_000_000)
    """The first seed: of the draws of rows and features, of the split, of the bootstrap and of the tests."""
    resamples: int = Field(default=1_000, ge=100, le=100_000)
    """Bootstrap samples of the queries; ten times as many random swaps."""

    linear: bool = True
    """Start from a linear ranker, which the trees correct; otherwise trees alone. With few grades it saves much."""
    linear_l2: float = Field(default=1.0, gt=0)
    """Weight of the squares of its weights."""
    gain: Gain = "exponential"
    """What a grade is worth: 2^grade - 1 (the best grade counts far more than the others), or the grade itself."""
    truncation: int | None = Field(default=None, ge=1)
    """Learn from pairs of which one stands so high in the list; None = from all pairs, as PNR counts them."""
    even_queries: bool = False
    """Let each query weigh about the same; otherwise each pair does, as in PNR."""
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    """Weight of a tree."""
    num_leaves: int = Field(default=15, ge=2, le=4096)
    """Leaves of a tree, at most."""
    min_docs_per_leaf: int = Field(default=20, ge=1)
    """Graded videos in a leaf, at least."""
    l2: float = Field(default=1.0, ge=0)
    """Weight of the squares of leaves."""
    feature_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the features that a tree may use, drawn for each tree."""
    row_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the graded videos that a tree learns from, drawn for each tree."""

    max_rounds: int = Field(default=500, ge=1, le=100_000)
    """Trees, at most."""
    patience: int = Field(default=50, ge=1)
    """Stop after so many trees without a better `measure` on the validation queries; those up to the best one stay."""
    measure: str = "pnr"
    """What stops: any measure of `mmsearch evaluate`."""
    relevant: int | None = Field(default=None, ge=1)
    """Least grade that counts as relevant; None = 2, or 1 on a 0/1 scale."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the queries that are held back from learning where no table of validation grades is given."""
    num_threads: int = Field(default=1, ge=1, le=1024)
    """Threads of a fit; the ranker does not depend on it."""
