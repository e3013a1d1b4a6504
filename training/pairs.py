"""From tables to arrays: the pairs and judged rows that a run learns from, held-out videos left out.

Letters: P pairs, R judged rows.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.data.interactions import Pairs as Clicks
from mmsearch.data.interactions import click_pairs, satisfied_pairs
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import ConfigError, DataError
from mmsearch.types import Interaction, Judgment, Modality
from training.config import DataSettings
from training.tables import RunTables, Tally

_log = logging.getLogger(__name__)

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a row of the corpus that belong together.

    Args:
        queries: distinct query texts.
        query_of: number of the query of each pair, [P].
        row_of: corpus row of each pair, [P].
        satisfied: whether the pair may teach the content domain, [P].
        hide_title: the query is the video's title, which the document tower must not see.
    """

    queries: Sequence[str]
    query_of: Int64
    row_of: Int64
    satisfied: Bool
    hide_title: bool

    def known(self, queries: Int64, rows: Int64) -> Bool:
        """Tell which of [B] queries and [B] rows are pairs: [B, B]."""
        keys = queries[:, None] * self._width + rows[None, :]
        found = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.asarray(self._keys[found] == keys)

    @cached_property
    def _width(self) -> int:
        return int(self.row_of.max(initial=0)) + 1

    @cached_property
    def _keys(self) -> Int64:
        return np.unique(self.query_of * self._width + self.row_of)


@dataclass(frozen=True)
class Judged:
    """Judged rows, grouped by query.

    Args:
        queries: distinct query texts.
        rows: for each query, its corpus rows.
        grades: for each query, the grades of these rows.
    """

    queries: Sequence[str]
    rows: Sequence[Int64]
    grades: Sequence[Int64]


def held_out(data: DataSettings) -> set[str]:
    """Give the ids of the videos that no stage may learn from.

    Raises:
        TableError: a row is bad, whatever `data.on_error` says: it might name one.
    """
    files = [*map(data.path, data.holdout), *([data.path(data.val_judgments)] if data.val_judgments else [])]
    return {row.doc_id for path in files for row in read_judgments(path)}


def title_pairs(corpus: PreparedCorpus, excluded: set[str]) -> Pairs:
    """Pair every title with its own video; log how many are not used.

    Raises:
        DataError: no video has a title and may be learned from.
    """
    titles: list[str] = []
    rows: list[int] = []
    num_held_out = 0
    for row, title in corpus_titles(corpus):
        if corpus.doc_ids[row] in excluded:
            num_held_out += 1
            continue
        titles.append(title)
        rows.append(row)
    Tally(corpus.folder, "titles", len(titles), num_held_out).report()
    return _pairs(titles, rows, [True] * len(rows), hide_title=True)


def corpus_titles(corpus: PreparedCorpus) -> Iterable[tuple[int, str]]:
    """Give (row, title) of the videos that have one."""
    for number, rows in enumerate(corpus.row_groups):
        for row, video in zip(rows, corpus.read_row_group(number), strict=True):
            if Modality.TITLE in video.texts:
                yield row, video.texts[Modality.TITLE]


def clicked_pairs(corpus: PreparedCorpus, data: DataSettings, excluded: set[str], tables: RunTables) -> Pairs:
    """Pair queries with the videos that were clicked for them; note which clicks satisfied.

    Logs how many clicks are used, and how many are not and why.

    Raises:
        DataError: no clicked video is in the corpus and may be learned from.
    """
    if data.interactions is None:
        raise ConfigError("a stage learns from clicks: give data.interactions")
    log = list(tables.interactions(data.interactions))
    kept = known_clicks(corpus, log, data.path(data.interactions), excluded)
    satisfied = satisfied_pairs(
        log,
        _durations(data, tables),
        min_watch_s=data.min_watch_s,
        min_completion=data.min_completion,
        keep_unrecorded=data.keep_unrecorded,
    )
    queries, rows = [q for q, _ in kept], [corpus.row_of[d] for _, d in kept]
    return _pairs(queries, rows, [pair in satisfied for pair in kept], hide_title=False)


def known_clicks(corpus: PreparedCorpus, log: Sequence[Interaction], table: Path, excluded: set[str]) -> Clicks:
    """Give the clicked pairs of which the video is in the corpus and not excluded; log how many clicks that leaves out.

    Args:
        corpus: the prepared corpus.
        log: rows of the click log.
        table: their file, for messages.
        excluded: ids of videos that are held out.

    Raises:
        DataError: none is left.
    """
    clicks = click_pairs(log)
    counts: Counter[str] = Counter()
    for (_, doc_id), count in clicks.items():
        counts["held_out" if doc_id in excluded else "used" if doc_id in corpus.row_of else "unknown"] += count
    passed_over = {"that are rows without a click": len(log) - counts.total()}
    Tally(table, "clicks", counts["used"], counts["held_out"], counts["unknown"], passed_over).report()
    return {pair: n for pair, n in clicks.items() if pair[1] in corpus.row_of and pair[1] not in excluded}


def judged_rows(
    corpus: PreparedCorpus, judgments: Iterable[Judgment], aspect: str, excluded: set[str], table: Path
) -> Judged:
    """Group judgments of one aspect by query; log how many are used, and how many are not and why, and how many queries
    have grades that order nothing.

    Args:
        corpus: the prepared corpus.
        judgments: rows; of those of the same query and video the last counts.
        aspect: which of them count.
        excluded: ids of videos that are held out.
        table: the file of the rows, for messages.

    Raises:
        DataError: no judged video is in the corpus and may be used, or no query has two of different grades.
    """
    grouped: dict[str, dict[int, int]] = {}
    counts: Counter[str] = Counter()
    for row in judgments:
        if row.aspect != aspect:
            counts["other"] += 1
        elif row.doc_id in excluded or row.doc_id not in corpus.row_of:
            counts["held_out" if row.doc_id in excluded else "unknown"] += 1
        else:
            counts["good"] += 1
            grouped.setdefault(row.query, {})[corpus.row_of[row.doc_id]] = row.grade
    used = sum(map(len, grouped.values()))
    others = {"of other aspects": counts["other"], "that a later row replaces": counts["good"] - used}
    what = f"judgments of the aspect '{aspect}'"
    Tally(table, what, used, counts["held_out"], counts["unknown"], others).report()
    _tell_order(table, what, grouped)
    rows = [np.fromiter(found, np.int64) for found in grouped.values()]
    grades = [np.fromiter(found.values(), np.int64) for found in grouped.values()]
    return Judged(list(grouped), rows, grades)


def _tell_order(table: Path, what: str, grouped: Mapping[str, Mapping[int, int]]) -> None:
    """Log how many queries have one grade alone.

    Raises:
        DataError: all have: every loss and every PNR would be 0, whatever the model.
    """
    flat = sum(len(set(grades.values())) == 1 for grades in grouped.values())
    if flat == len(grouped):
        found = f"none of the {flat:,} queries has two videos of different grades among the {what} that are used"
        raise DataError(f"{table}: {found}: there is nothing to learn or to measure; give others")
    if flat:
        _log.info("%s: %s of %s queries have one grade alone, which orders nothing", table, f"{flat:,}", len(grouped))


def picture_rows(corpus: PreparedCorpus, sources: Collection[str], excluded: set[str]) -> tuple[Int64, Int64]:
    """Give the rows of the videos that have a picture of these sources (cover, frames): those that may be learned from,
    and those that are excluded."""
    wanted = {Modality(source) for source in sources}
    found: tuple[list[int], list[int]] = [], []
    for number, numbers in enumerate(corpus.row_groups):
        for row, video in zip(numbers, corpus.read_row_group(number), strict=True):
            if wanted & video.hashes.keys():
                found[video.doc_id in excluded].append(row)
    return np.array(found[0], np.int64), np.array(found[1], np.int64)


def _durations(data: DataSettings, tables: RunTables) -> Mapping[str, float]:
    if data.videos is None:
        return {}
    return {video.doc_id: video.duration_s for video in tables.videos(data.videos) if video.duration_s is not None}


def _pairs(queries: Sequence[str], rows: Sequence[int], satisfied: Sequence[bool], *, hide_title: bool) -> Pairs:
    distinct = {query: number for number, query in enumerate(dict.fromkeys(queries))}
    query_of = np.array([distinct[query] for query in queries], np.int64)
    return Pairs(list(distinct), query_of, np.array(rows, np.int64), np.array(satisfied, np.bool_), hide_title)
