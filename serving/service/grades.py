"""The grades of a judgments table, by query."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Self

from mmsearch.data.tables import read_judgments


class Grades:
    """Human grades, looked up as queries are typed: full-width forms, case and blanks around make no difference.

    Args:
        by_query: document to grade, for each query.
    """

    def __init__(self, by_query: dict[str, dict[str, int]]) -> None:
        self._by_query: dict[str, dict[str, int]] = {}
        for query, grades in by_query.items():
            self._by_query.setdefault(_folded(query), {}).update(grades)
        self.examples = list(by_query)[:12]
        self.num_queries = len(self._by_query)
        self.max_grade = max((grade for grades in self._by_query.values() for grade in grades.values()), default=0)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table; of several aspects, `overall` counts.

        Raises:
            TableError: a row cannot be used.
        """
        by_query: dict[str, dict[str, int]] = {}
        for row in read_judgments(path):
            if row.aspect == "overall":
                by_query.setdefault(row.query, {})[row.doc_id] = row.grade
        return cls(by_query)

    def of(self, query: str) -> dict[str, int] | None:
        """Give the grade of each judged document of a query; None = the query was not judged."""
        return self._by_query.get(_folded(query))


def _folded(query: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", query).casefold().split())
