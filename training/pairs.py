"""From tables to arrays: the pairs and judged rows that a run learns from, held-out videos left out.

Letters: P pairs, R judged rows.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmsearch.data.interactions import click_pairs, satisfied_pairs
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_interactions, read_judgments, read_videos
from mmsearch.errors import ConfigError, DataError
from mmsearch.types import Judgment, Modality
from training.config import DataSettings

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_log = logging.getLogger(__name__)


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
    """Give the ids of the videos that no stage may learn from."""
    files = [*map(data.path, data.holdout), *([data.path(data.val_judgments)] if data.val_judgments else [])]
    return {row.doc_id for path in files for row in read_judgments(path)}


def title_pairs(corpus: PreparedCorpus, excluded: set[str]) -> Pairs:
    """Pair every title with its own video."""
    titles: list[str] = []
    rows: list[int] = []
    for row, title in corpus_titles(corpus):
        if corpus.doc_ids[row] not in excluded:
            titles.append(title)
            rows.append(row)
    return _pairs(titles, rows, [True] * len(rows), hide_title=True)


def corpus_titles(corpus: PreparedCorpus) -> Iterable[tuple[int, str]]:
    """Give (row, title) of the videos that have one."""
    for number, rows in enumerate(corpus.row_groups):
        for row, video in zip(rows, corpus.read_row_group(number), strict=True):
            if Modality.TITLE in video.texts:
                yield row, video.texts[Modality.TITLE]


def clicked_pairs(corpus: PreparedCorpus, data: DataSettings, excluded: set[str]) -> Pairs:
    """Pair queries with the videos that were clicked for them; note which clicks satisfied."""
    if data.interactions is None:
        raise ConfigError("a stage learns from clicks: give data.interactions")
    log = list(read_interactions(data.path(data.interactions)))
    clicks = click_pairs(log)
    satisfied = satisfied_pairs(
        log,
        _durations(data),
        min_watch_s=data.min_watch_s,
        min_completion=data.min_completion,
        keep_unrecorded=data.keep_unrecorded,
    )
    kept = [(q, d) for q, d in clicks if d in corpus.row_of and d not in excluded]
    if len(kept) < len(clicks):
        _log.warning("%d clicked pairs left out: video held out, or not in the corpus", len(clicks) - len(kept))
    queries, rows = [q for q, _ in kept], [corpus.row_of[d] for _, d in kept]
    return _pairs(queries, rows, [pair in satisfied for pair in kept], hide_title=False)


def judged_rows(corpus: PreparedCorpus, judgments: Iterable[Judgment], aspect: str, excluded: set[str]) -> Judged:
    """Group judgments of one aspect by query.

    Raises:
        DataError: no judged video is in the corpus.
    """
    grouped: dict[str, dict[int, int]] = {}
    for row in judgments:
        if row.aspect == aspect and row.doc_id in corpus.row_of and row.doc_id not in excluded:
            grouped.setdefault(row.query, {})[corpus.row_of[row.doc_id]] = row.grade
    if not grouped:
        raise DataError(f"no judgment of aspect '{aspect}' names a video of the corpus that may be used")
    rows = [np.fromiter(found, np.int64) for found in grouped.values()]
    grades = [np.fromiter(found.values(), np.int64) for found in grouped.values()]
    return Judged(list(grouped), rows, grades)


def picture_rows(corpus: PreparedCorpus, sources: Collection[str], excluded: set[str]) -> Int64:
    """Give the rows of the videos that have a picture of these sources (cover, frames)."""
    wanted = {Modality(source) for source in sources}
    rows: list[int] = []
    for number, numbers in enumerate(corpus.row_groups):
        videos = corpus.read_row_group(number)
        rows += [
            row
            for row, video in zip(numbers, videos, strict=True)
            if wanted & video.hashes.keys() and video.doc_id not in excluded
        ]
    return np.array(rows, np.int64)


def _durations(data: DataSettings) -> Mapping[str, float]:
    if data.videos is None:
        return {}
    return {
        video.doc_id: video.duration_s for video in read_videos(data.path(data.videos)) if video.duration_s is not None
    }


def _pairs(queries: Sequence[str], rows: Sequence[int], satisfied: Sequence[bool], *, hide_title: bool) -> Pairs:
    distinct = {query: number for number, query in enumerate(dict.fromkeys(queries))}
    query_of = np.array([distinct[query] for query in queries], np.int64)
    return Pairs(list(distinct), query_of, np.array(rows, np.int64), np.array(satisfied, np.bool_), hide_title)
