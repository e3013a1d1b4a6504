"""Rank features: what an online ranker gets for a query and its candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmsearch.errors import DataError
from mmsearch.protocols import Bool, Float32


@dataclass(frozen=True, slots=True)
class RankFeatures:
    """Features of the candidates of one query.

    Args:
        doc_ids: the candidates, as they were asked for.
        names: the features: one match feature for each space, then those that are derived from them.
        values: of a space the cosine of query and document, or what the selection makes of the cosines of the
            document's codes, in [-1, 1] up to rounding; `feature_definitions` tells of the others; 0 where missing,
            [docs, features].
        missing: True where there is no value: unknown document, no such modality, damaged vector, a query that
            says nothing, or a deadline that passed, [docs, features].
        generation: of the index that answered; all values are of this one.
        late: whether a deadline passed before all was computed.
    """

    doc_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Float32
    missing: Bool
    generation: str = ""
    late: bool = False

    def column(self, name: str) -> tuple[Float32, Bool]:
        """Give values and missing flags of one feature, [docs] each.

        Raises:
            DataError: there is no such feature.
        """
        if name not in self.names:
            raise DataError(f"there is no feature '{name}'; there are: {', '.join(self.names)}")
        at = self.names.index(name)
        return self.values[:, at], self.missing[:, at]

    def to_rows(self) -> Iterator[tuple[str, dict[str, float | None]]]:
        """Give each candidate's id and its features by name; None = missing."""
        pairs = zip(self.doc_ids, self.values.tolist(), self.missing.tolist(), strict=True)
        for doc_id, values, missing in pairs:
            cells = zip(self.names, values, missing, strict=True)
            yield doc_id, {name: None if gone else value for name, value, gone in cells}
