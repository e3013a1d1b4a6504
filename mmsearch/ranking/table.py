"""Graded pairs and their features: what a ranker learns from, and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from mmsearch.metrics.join import Grades
from mmsearch.metrics.scored import UNSCORED, Bools, Float64, Scored
from mmsearch.ranking.columns import UserColumns
from mmsearch.report.scores import score_judgments
from mmsearch.scoring import FeatureScorer


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Graded pairs, those of a query together, and their features.

    Args:
        rows: queries, documents and grades; the scores mean nothing.
        names: of the features.
        values: NaN where missing, [rows, features].
        oddities: what was unusual in the judgments, by the names in `mmsearch.metrics.join.ODDITIES`.
    """

    rows: Scored
    names: tuple[str, ...]
    values: Float64
    oddities: Mapping[str, int]

    def matrix(self, names: Sequence[str]) -> Float64:
        """Give some features, [rows, names]."""
        return np.ascontiguousarray(self.values[:, [self.names.index(name) for name in names]])

    @property
    def has_pairs(self) -> Bools:
        """Tell which queries have two grades: there is nothing to learn from the others, and no pair to measure."""
        if not len(self.rows):
            return np.zeros(0, np.bool_)
        grades, starts = self.rows.grades, self.rows.starts
        return np.asarray(np.maximum.reduceat(grades, starts) > np.minimum.reduceat(grades, starts))

    @property
    def group_sizes(self) -> list[int]:
        """Give the number of rows of each query."""
        sizes: list[int] = np.diff(self.rows.starts, append=len(self.rows)).tolist()
        return sizes

    def part(self, queries: Bools) -> FeatureTable:
        """Give the rows of some queries."""
        kept = np.flatnonzero(queries[self.rows.query])
        texts = [self.rows.queries[i] for i in self.rows.query[kept]]
        doc_ids = [self.rows.doc_ids[i] for i in kept]
        rows = Scored.from_columns(texts, doc_ids, self.rows.grades[kept], self.rows.scores[kept])
        return FeatureTable(rows, self.names, self.values[kept], self.oddities)

    def split(self, share: float, seed: int) -> tuple[FeatureTable, FeatureTable]:
        """Give the other queries, and about a `share` of them, drawn by a hash of their text: of a query that comes
        again in a larger table, the side is the same."""
        draws = [
            xxhash.xxh3_64_intdigest(query.encode("utf-8", "replace"), seed) / 2**64 for query in self.rows.queries
        ]
        held = np.array(draws) < share
        return self.part(~held), self.part(held)


def feature_table(
    scorer: FeatureScorer, grades: Grades, features: Sequence[str], columns: UserColumns | None
) -> FeatureTable:
    """Score every graded pair as a server would do it, and put the user's columns beside that.

    A judgment that stands in several rows counts as often, as in `mmsearch evaluate`.
    """
    inputs = {one.name: one for one in score_judgments(scorer, grades).inputs}
    any_input = next(iter(inputs.values()))
    rows = any_input.scored
    found = [np.where(inputs[n].scored.scores == UNSCORED, np.nan, inputs[n].scored.scores) for n in features]
    values = np.stack(found, axis=1) if found else np.zeros((len(rows), 0))
    names = tuple(features)
    if columns is not None:
        pairs = [(rows.queries[i], doc_id) for i, doc_id in zip(rows.query, rows.doc_ids, strict=True)]
        values, names = np.concatenate([values, columns.look_up(pairs)], axis=1), names + columns.names
    oddities = {name: count for name, count in any_input.oddities.items() if name != "missing_scores"}
    return FeatureTable(rows, names, values, oddities)
