"""What is evaluated: a scored table for every run or feature, as a whole and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsearch.errors import ConfigError, DataError
from mmsearch.metrics.files import OVERALL, read_grades, read_run, read_scored
from mmsearch.metrics.join import Duplicates, Grades, Scores, beside, join, judged_rows
from mmsearch.metrics.scored import Bools, Float64, Scored

#: Tells which documents an index holds, [docs].
Holds = Callable[[Sequence[str]], Bools]
#: Letters of an id that an error shows.
_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Input:
    """A scored table.

    Args:
        name: of the run or feature.
        group: of the rows; None = all rows.
        scored: the rows.
        oddities: what was unusual, by the names in `mmsearch.metrics.join.ODDITIES`.
    """

    name: str
    group: str | None
    scored: Scored
    oddities: dict[str, int]


def scored_inputs(
    path: Path, *, duplicates: Duplicates = "all", grouped: bool = False, aspect: str = OVERALL
) -> list[Input]:
    """Give the table of a file with grades (of one aspect) and scores; with `grouped`, the table of each group too.

    Raises:
        TableError: the file cannot be used.
        ConfigError: groups are asked for and there is no column `group`.
    """
    grades, scores = read_scored(path, aspect)
    found = []
    for group, rows in _parts(path, grades, grouped):
        part, kept, odd = _judged(grades, rows, duplicates)
        scored, more = beside(part, [scores[i] for i in kept])
        found.append(Input(path.stem, group, scored, odd | more))
    return found


def run_inputs(
    qrels: Path,
    runs: Sequence[Path],
    *,
    duplicates: Duplicates = "all",
    grouped: bool = False,
    aspect: str = OVERALL,
) -> list[Input]:
    """Give the table of every run over the same judgments; with `grouped`, the tables of each group too.

    All tables of a group hold the same judged queries in the same order, so that they can be compared in pairs. Errors
    as in `scored_inputs`.
    """
    grades = read_grades(qrels, aspect)
    stems = [path.stem for path in runs]
    found = []
    for path in runs:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        run = read_run(path)
        for group, rows in _parts(qrels, grades, grouped):
            part, _, odd = _judged(grades, rows, duplicates)
            scored, more = join(part, run)
            found.append(Input(name, group, scored, odd | more))
    return found


def check_held(grades: Grades, holds: Holds, judgments: Path | str, index: Path | str) -> None:
    """Refuse judgments that an index can say nothing of.

    Args:
        grades: the judgments.
        holds: of the index.
        judgments: where they stand, for the message.
        index: what the index is called there.

    Raises:
        DataError: the index holds none of the judged documents.
    """
    doc_ids = list(dict.fromkeys(grades.doc_ids))
    if doc_ids and not holds(doc_ids).any():
        raise DataError(
            f"{judgments}: none of its {len(doc_ids):,} judged videos is in {index} "
            f"(the first is {doc_ids[0][:_MAX_SHOWN]!r}); check that both are of the same videos and write doc_id alike"
        )


def feature_inputs(
    grades: Grades,
    score: Callable[[str, Sequence[str]], Mapping[str, Float64]],
    *,
    duplicates: Duplicates = "all",
    holds: Holds | None = None,
) -> list[Input]:
    """Give the table of every rank feature over the same judgments.

    Args:
        grades: the judgments.
        score: gives the values of every feature by name for a query and its documents, [docs]; NaN where missing. It
            must give the same features for every query.
        duplicates: what to do with repeated judgments.
        holds: of the index: judgments of other documents are counted apart from those that lack a feature.
    """
    part, _, odd = _judged(grades, range(len(grades.queries)), duplicates)
    table = Scored.from_columns(part.queries, part.doc_ids, part.levels, np.full(len(part.queries), np.nan))
    ends = [*table.starts[1:], len(table)]
    parts = [
        score(query, table.doc_ids[start:end])
        for query, start, end in zip(table.queries, table.starts, ends, strict=True)
    ]
    strangers = _strangers(part, holds)
    found = []
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts]).astype(np.float64)
        missing = {"missing_scores": int(np.isnan(values).sum())}
        found.append(Input(name, None, table.with_scores(values), _apart(odd | missing, strangers)))
    return found


def retrieval_inputs(
    grades: Grades,
    retrieve: Callable[[str, Sequence[str]], Mapping[str, Mapping[str, float]]],
    *,
    duplicates: Duplicates = "all",
    holds: Holds | None = None,
) -> list[Input]:
    """Give the table of every rank feature over a whole corpus: judged documents, and those that nobody judged.

    Args:
        grades: the judgments.
        retrieve: gives, for a query and its judged documents, the scores of documents by feature: of the judged ones
            that have one, and of the best of the corpus. It must give the same features for every query.
        duplicates: what to do with repeated judgments.
        holds: as for `feature_inputs`.
    """
    part, _, odd = _judged(grades, range(len(grades.queries)), duplicates)
    judged: dict[str, list[str]] = {}
    for query, doc_id in zip(part.queries, part.doc_ids, strict=True):
        judged.setdefault(query, []).append(doc_id)
    runs: dict[str, Scores] = {}
    for query, doc_ids in judged.items():
        for name, scores in retrieve(query, doc_ids).items():
            run = runs.setdefault(name, Scores([], [], []))
            run.queries.extend([query] * len(scores))
            run.doc_ids.extend(scores)
            run.scores.extend(scores.values())
    tables = {name: join(part, run) for name, run in runs.items()}
    strangers = _strangers(part, holds)
    return [Input(name, None, scored, _apart(odd | more, strangers)) for name, (scored, more) in tables.items()]


def _strangers(grades: Grades, holds: Holds | None) -> int | None:
    """Count the judgments of documents that an index does not hold; None where it was not asked."""
    return None if holds is None else int(np.count_nonzero(~holds(grades.doc_ids)))


def _apart(oddities: dict[str, int], strangers: int | None) -> dict[str, int]:
    """Count unknown documents, none of which has a score, apart from missing scores."""
    if strangers is None:
        return oddities
    return oddities | {"not_in_index": strangers, "missing_scores": oddities["missing_scores"] - strangers}


def _parts(path: Path, grades: Grades, grouped: bool) -> list[tuple[str | None, Sequence[int]]]:
    if grouped and not grades.groups:
        raise ConfigError(f"{path}: results by group need a column 'group' in the judgments, and there is none")
    groups = grades.rows_by_group() if grouped else {}
    return [(None, range(len(grades.queries))), *groups.items()]


def _judged(grades: Grades, rows: Sequence[int], duplicates: Duplicates) -> tuple[Grades, list[int], dict[str, int]]:
    part = grades.take(rows)
    kept, oddities = judged_rows(part, duplicates)
    return part.take(kept), [rows[i] for i in kept], oddities
