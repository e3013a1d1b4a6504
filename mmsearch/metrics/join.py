"""Judgments and scores put together, with everything unusual counted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmsearch.metrics.scored import UNJUDGED, Float64, Scored

Duplicates = Literal["all", "first"]


@dataclass(frozen=True, slots=True)
class Grades:
    """Judgments as columns, [N] each. `groups` is empty, or names a group for every row."""

    queries: list[str]
    doc_ids: list[str]
    grades: list[int]
    groups: list[str]

    @property
    def levels(self) -> list[int]:
        """The grades with those below 0 (spam, in some TREC judgments) as 0."""
        return [max(0, grade) for grade in self.grades]

    def take(self, rows: Sequence[int]) -> Grades:
        """Give some of the rows, by their numbers from 0."""
        columns = (self.queries, self.doc_ids, self.grades, self.groups)
        return Grades(*([column[i] for i in rows] if column else [] for column in columns))  # type: ignore[arg-type]

    def rows_by_group(self) -> dict[str, list[int]]:
        """Give the numbers of the rows of every group, in the order of the groups' names."""
        rows: dict[str, list[int]] = {name: [] for name in sorted(set(self.groups))}
        for i, name in enumerate(self.groups):
            rows[name].append(i)
        return rows


@dataclass(frozen=True, slots=True)
class Scores:
    """A run as columns, [N] each. None = the row is there without a score."""

    queries: list[str]
    doc_ids: list[str]
    scores: list[float | None]


#: What can be unusual in the input; every number is of rows.
ODDITIES = {
    "repeated": "judgments whose (query, doc_id) stood in an earlier row",
    "conflicting": "repeated judgments whose grade differs from the first",
    "negative_grades": "judgments below 0; they count as 0",
    "respelled": "judgments of queries that differ from an earlier one only in blanks at the ends or in Unicode's form "
    "(NFC); queries of their own, since texts are taken as they are: write them alike",
    "not_in_index": "judgments of videos that are not in the index; unscored",
    "missing_scores": "judgments without a score; unscored: ranked last, tied among themselves",
    "nan_scores": "judgments whose score is not a number; unscored",
    "infinite_scores": "judgments whose score is infinite; unscored",
    "unjudged": "scored rows without a judgment, of judged queries; irrelevant in ranked lists, in no pair",
    "other_queries": "scored rows of queries without a judgment; left out",
    "other_spellings": "of these, rows whose query differs from a judged one only in blanks at the ends or in "
    "Unicode's form (NFC); write them alike",
    "repeated_scores": "scored rows whose (query, doc_id) stood in an earlier row; the first counts",
}


def judged_rows(grades: Grades, duplicates: Duplicates = "all") -> tuple[list[int], dict[str, int]]:
    """Give the numbers of the rows that count, and oddities by their names in `ODDITIES`.

    Repeated judgments of a document for a query all count (`all`), as in the public CBVS script: two grades of one
    document then make a pair that is tied in score. Or only the first of them counts (`first`).
    """
    first: dict[tuple[str, str], int] = {}
    conflicting, rows = 0, []
    for i, key in enumerate(zip(grades.queries, grades.doc_ids, strict=True)):
        at = first.setdefault(key, i)
        conflicting += grades.grades[at] != grades.grades[i]
        if at == i or duplicates == "all":
            rows.append(i)
    oddities = {
        "repeated": len(grades.queries) - len(first),
        "conflicting": conflicting,
        "negative_grades": sum(grade < 0 for grade in grades.grades),
        "respelled": _respelled(grades.queries),
    }
    return rows, oddities


def spelling(query: str) -> str:
    """Give a query as people see it: composed (Unicode NFC), without blanks at its ends."""
    return unicodedata.normalize("NFC", query).strip()


def _respelled(queries: Iterable[str]) -> int:
    """Count the rows whose query looks like an earlier one and is another text."""
    first: dict[str, str] = {}
    return sum(first.setdefault(spelling(query), query) != query for query in queries)


def usable_scores(scores: Sequence[float | None]) -> tuple[Float64, dict[str, int]]:
    """Give scores as numbers, missing ones NaN, and counts by their names in `ODDITIES`."""
    missing = sum(score is None for score in scores)
    given = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    nan, infinite = int(np.isnan(given).sum()) - missing, int(np.isinf(given).sum())
    return given, {"missing_scores": missing, "nan_scores": nan, "infinite_scores": infinite}


def beside(grades: Grades, scores: Sequence[float | None]) -> tuple[Scored, dict[str, int]]:
    """Put scores beside the judgments, row by row; the second value is oddities by their names in `ODDITIES`."""
    usable, oddities = usable_scores(scores)
    return Scored.from_columns(grades.queries, grades.doc_ids, grades.levels, usable), oddities


def join(grades: Grades, run: Scores) -> tuple[Scored, dict[str, int]]:
    """Put the scores of a run beside the judgments.

    Every judgment gives a row, scored or not; scored documents of judged queries that nobody judged follow them.

    Returns:
        The table (judgments first within every query), and oddities by their names in `ODDITIES`.
    """
    score_of: dict[tuple[str, str], float | None] = {}
    for key, score in zip(zip(run.queries, run.doc_ids, strict=True), run.scores, strict=True):
        score_of.setdefault(key, score)
    judged = set(zip(grades.queries, grades.doc_ids, strict=True))
    queries = set(grades.queries)
    extra = [key for key in score_of if key not in judged and key[0] in queries]
    keys = [*zip(grades.queries, grades.doc_ids, strict=True)]
    found, oddities = usable_scores([score_of.get(key) for key in keys])
    others, _ = usable_scores([score_of[key] for key in extra])
    strays = [query for query, _ in score_of if query not in queries]
    seen = {spelling(query) for query in queries} if strays else set()
    table = Scored.from_columns(
        [*grades.queries, *(query for query, _ in extra)],
        [*grades.doc_ids, *(doc_id for _, doc_id in extra)],
        [*grades.levels, *[UNJUDGED] * len(extra)],
        np.concatenate([found, others]),
    )
    return table, oddities | {
        "unjudged": len(extra),
        "other_queries": len(strays),
        "other_spellings": sum(spelling(query) in seen for query in strays),
        "repeated_scores": len(run.queries) - len(score_of),
    }
