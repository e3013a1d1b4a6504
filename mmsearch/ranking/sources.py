"""The tables of a fit: grades to learn from, to stop by and to measure on, with their features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.errors import ConfigError, TableError
from mmsearch.files import hash_file
from mmsearch.ranking.columns import read_columns
from mmsearch.ranking.feature_sets import check_columns
from mmsearch.ranking.settings import RankSettings
from mmsearch.ranking.table import FeatureTable, feature_table
from mmsearch.report.scores import read_grades
from mmsearch.scoring import FeatureScorer

#: What it means that queries of a table were learned from.
_REPEATED = {
    "validation": "learning may stop too late for queries that nobody has graded",
    "test": "for queries that nobody has graded, the figures may be too good",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a fit reads.

    Args:
        index: the forward index.
        judgments: grades to learn from.
        validation: grades that say when to stop; None = those of some queries of `judgments`.
        test: grades to measure on; None = those of the validation.
        columns: the user's columns.
    """

    index: Path
    judgments: Path
    validation: Path | None = None
    test: Path | None = None
    columns: Path | None = None

    def described(self) -> dict[str, Any]:
        """Give the name and hash of each table."""
        tables = {
            "judgments": self.judgments,
            "validation": self.validation,
            "test": self.test,
            "columns": self.columns,
        }
        return {name: {"name": p.name, "xxh3": hash_file(p)} for name, p in tables.items() if p is not None}


@dataclass(frozen=True, eq=False)
class Tables:
    """Graded pairs with their features.

    Args:
        train: to learn from.
        validation: say when to stop.
        measured: to measure on.
        measured_on: `test` or `validation`.
        columns: names of the user's columns.
        notes: what a reader of the figures must know.
    """

    train: FeatureTable
    validation: FeatureTable
    measured: FeatureTable
    measured_on: str
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def read_tables(sources: Sources, scorer: FeatureScorer, features: tuple[str, ...], settings: RankSettings) -> Tables:
    """Read all grades and the user's columns, and score every graded pair.

    Raises:
        DataError: a table cannot be used.
        ConfigError: a column cannot stand beside the features, or columns are chosen of no table.
    """
    if settings.columns and sources.columns is None:
        raise ConfigError(f"columns: {', '.join(settings.columns)}: no table has them; give it with --columns TABLE")
    paths = {"train": sources.judgments, "validation": sources.validation, "test": sources.test}
    grades = {name: read_grades(path, settings.aspect) for name, path in paths.items() if path is not None}
    columns, notes = None, []
    if sources.columns is not None:
        pairs = {pair for one in grades.values() for pair in zip(one.queries, one.doc_ids, strict=True)}
        columns = read_columns(sources.columns, pairs, settings.columns)
        if not columns.row_of:
            raise TableError(sources.columns, None, None, "holds none of the graded pairs; is it the right table?")
        check_columns(columns.names, scorer.names)
        if len(columns.row_of) < len(pairs):
            absent = len(pairs) - len(columns.row_of)
            notes.append(f"{absent:,} of {len(pairs):,} graded pairs stand in no row of {sources.columns.name}")
        if columns.num_repeated:
            told = f"rows of {sources.columns.name} repeat the pair of an earlier one, which counts"
            notes.append(f"{columns.num_repeated:,} {told}")
    found = {name: feature_table(scorer, one, features, columns) for name, one in grades.items()}
    if "validation" not in found:
        found["train"], found["validation"] = found["train"].split(settings.validation_share, settings.seed)
    measured_on = "test" if "test" in found else "validation"
    notes += _notes(found, measured_on)
    own = columns.names if columns is not None else ()
    return Tables(found["train"], found["validation"], found[measured_on], measured_on, own, tuple(notes))


def _notes(found: dict[str, FeatureTable], measured_on: str) -> list[str]:
    notes = []
    if measured_on == "validation":
        notes.append(
            "the figures are of the queries that also chose the number of trees, and so a little too good; "
            "give --test for others"
        )
    learned = set(found["train"].rows.queries)
    for name in ("validation", "test"):
        again = learned & set(found[name].rows.queries) if name in found else set()
        if again:
            of = f"{len(again):,} of the {found[name].rows.num_queries:,} queries of the {name} grades"
            advice = "split the judgments of the ranker by query, not by video"
            notes.append(f"{of} were learned from as well: {_REPEATED[name]}; {advice}")
    level = int(np.count_nonzero(~found["train"].has_pairs))
    if level:
        notes.append(f"{level:,} queries to learn from have videos of one grade alone; they teach nothing")
    return notes
