"""Judged and scored documents as columns: what every measure reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: The score of a document that has none; it stands below every real score.
UNSCORED = -np.inf
#: The grade of a document that nobody judged.
UNJUDGED = -1


@dataclass(frozen=True, eq=False)
class Scored:
    """Documents with a grade and a score, grouped by query.

    One treatment of scores that cannot rank, in all measures: a document whose score is absent, NaN or infinite is
    *unscored*. Unscored documents stand below every scored one, tied among themselves; measures of a ranked list give
    them no credit (they were not retrieved), but a relevant one still counts as a document that should have been.

    Args:
        queries: the text of every query that has a row, [Q].
        query: index into `queries`, never decreasing, [N].
        doc_ids: document of every row, [N].
        grades: 0 = irrelevant, higher = better; `UNJUDGED` = in the run, not among the judgments, [N].
        scores: higher = better; finite, or `UNSCORED`, [N].
    """

    queries: tuple[str, ...]
    query: Int64
    doc_ids: tuple[str, ...]
    grades: Int64
    scores: Float64

    @classmethod
    def from_columns(
        cls,
        queries: Sequence[str],
        doc_ids: Sequence[str],
        grades: Sequence[int] | Int64,
        scores: Sequence[float] | Float64,
    ) -> Scored:
        """Group rows by query (in the order of their first rows); the order of the rows of a query is kept."""
        codes: dict[str, int] = {}
        query = np.fromiter((codes.setdefault(q, len(codes)) for q in queries), np.int64, len(queries))
        given = np.asarray(scores, dtype=np.float64)
        usable = np.where(np.isfinite(given), given, UNSCORED)
        if not len(query) == len(doc_ids) == len(grades) == len(usable):
            raise ValueError("the columns have different lengths")
        order = np.argsort(query, kind="stable")
        docs = tuple(doc_ids) if np.array_equal(order, np.arange(len(order))) else tuple(doc_ids[i] for i in order)
        return cls(tuple(codes), query[order], docs, np.asarray(grades, np.int64)[order], usable[order])

    def __len__(self) -> int:
        return len(self.query)

    @property
    def num_queries(self) -> int:
        """Number of queries with at least one row."""
        return len(self.queries)

    @cached_property
    def starts(self) -> Int64:
        """First row of every query, [Q]."""
        return np.searchsorted(self.query, np.arange(self.num_queries)).astype(np.int64)

    @cached_property
    def retrieved(self) -> Bools:
        """True where a row has a score, [N]."""
        return np.asarray(self.scores != UNSCORED)

    @cached_property
    def judged(self) -> Bools:
        """True where a row has a grade, [N]."""
        return np.asarray(self.grades != UNJUDGED)

    def with_scores(self, scores: Float64) -> Scored:
        """Give the same rows under other scores, [N] in the order of this table."""
        usable = np.where(np.isfinite(scores), scores, UNSCORED).astype(np.float64)
        return Scored(self.queries, self.query, self.doc_ids, self.grades, usable)
