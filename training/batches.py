"""Batches of a stage by step number, made ahead in threads.

A batch is a pure function of (seed, stage, step): nothing needs to be saved to go on from any step, and it does not
matter which thread makes it. The global batch does not depend on the number of processes; each takes its own part of
it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.sampler import PairPlan
from mmsearch.errors import ConfigError, DataError
from mmsearch.models.inputs import InputMaker
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality
from training.old_index import OldIndex
from training.pairs import Judged, Pairs
from training.tasks import ContrastiveSettings, GradedBatch, GradedSettings, PairBatch
from training.tasks.compatible import OldVectors

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Held while a batch is planned and read: neither a plan nor a corpus may be used by two threads at once, and stages
#: that replay one another share a corpus. Decoding, nearly all of the work, goes on beside it.
READING = Lock()


@dataclass(frozen=True)
class Share:
    """Which part of every global batch is this process's: part number `rank` of `of` equal ones."""

    rank: int = 0
    of: int = 1

    def cut(self, batch_size: int, available: int, what: str) -> tuple[int, slice]:
        """Give the size of the global batch and this process's part of it.

        A batch is as large as asked for, or as there is data, in whole parts.

        Raises:
            ConfigError: the size asked for has no equal parts.
            DataError: there is less data than processes, or none.
        """
        if batch_size % self.of:
            raise ConfigError(f"batch_size {batch_size} cannot be shared by {self.of} processes; give a multiple")
        if available == 0:
            raise DataError(f"there are no {what} to learn from")
        size = min(batch_size, available // self.of * self.of)
        if size == 0:
            raise DataError(f"{available} {what} cannot be shared by {self.of} processes; start fewer")
        if size < batch_size and self.rank == 0:
            _log.warning(
                "there are only %d %s: batches hold %d of them, not the %d asked for", available, what, size, batch_size
            )
        part = size // self.of
        return size, slice(self.rank * part, (self.rank + 1) * part)


class PairBatches:
    """Contrastive batches.

    Args:
        corpus: the prepared corpus.
        pairs: what to learn from.
        maker: of tensors.
        settings: of the task.
        batch_size: pairs of the global batch; fewer where there are fewer pairs.
        seed: of the order.
        share: this process's.
        old: the old index that the task is to be compatible with; None = none.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        pairs: Pairs,
        maker: InputMaker,
        settings: ContrastiveSettings,
        *,
        batch_size: int,
        seed: int,
        share: Share = Share(),
        old: OldIndex | None = None,
    ) -> None:
        self._corpus, self._pairs, self._maker, self._settings = corpus, pairs, maker, settings
        self._copies, self._seed, self._old = settings.queries_per_video, seed, old
        if batch_size % self._copies:
            raise ConfigError(f"batch_size {batch_size} is no multiple of queries_per_video {self._copies}")
        rows = pairs.row_of
        if self._copies > 1:  # then not pairs are planned but videos, and the pairs of each are drawn
            self._groups = _by_row(rows)
            rows = np.unique(rows)
        size, self._part = share.cut(batch_size // self._copies, len(rows), "pairs" if self._copies == 1 else "videos")
        if size == 1 and share.rank == 0 and (settings.teacher_weight or settings.student_weight):
            _log.warning("a batch of one video has no negatives: nothing is learned from its clicks or titles")
        self._plan = PairPlan(row_groups_of(corpus, rows), batch_size=size, seed=seed)

    @property
    def num_own(self) -> int:
        """Videos of this process in a batch."""
        return int(self._part.stop - self._part.start)

    def __call__(self, step: int) -> PairBatch:
        """Give this process's part of the batch of a step."""
        copies = self._copies
        own = slice(self._part.start * copies, self._part.stop * copies)
        with READING:
            numbers = self._draw(self._plan.batch(step), step)
            queries, rows = self._pairs.query_of[numbers], self._pairs.row_of[numbers][::copies]
            own_queries, own_rows = queries[own], rows[self._part]
            videos = self._corpus.read(own_rows.tolist())
        videos = [with_pictures(video, self._settings.reads) for video in videos]
        if self._pairs.hide_title:
            videos = [without_title(video) for video in videos]
        texts = [self._pairs.queries[i] for i in own_queries]
        to_videos, to_queries = self._together(own_queries, own_rows, queries, rows)
        return PairBatch(
            settings=self._settings,
            names=[
                f"{video.doc_id} for '{text}'" for video, text in zip(_repeated(videos, copies), texts, strict=True)
            ],
            queries=self._maker.queries(texts),
            documents=self._maker.documents(videos),
            first=own.start,
            to_videos=torch.from_numpy(to_videos),
            to_queries=torch.from_numpy(to_queries),
            satisfied=torch.from_numpy(self._pairs.satisfied[numbers]),
            old=self._old_vectors(queries, rows),
        )

    def _old_vectors(self, queries: Int64, rows: Int64) -> OldVectors | None:
        """Read what the old index has of the global batch: its queries and its videos."""
        if self._old is None:
            return None
        texts = [self._pairs.queries[i] for i in queries]
        return self._old.of([self._corpus.doc_ids[row] for row in rows], texts)

    def _together(self, own_queries: Int64, own_rows: Int64, queries: Int64, rows: Int64) -> tuple[Bool, Bool]:
        """Tell which own queries belong to which videos [b, V], and the videos of own pairs to which queries [b, B].

        Pairs of the same query belong together as well: whose video is a negative of which is not known.
        """
        row_of_own, row_of = own_rows.repeat(self._copies), rows.repeat(self._copies)
        same = (own_queries[:, None] == queries[None, :]) | (row_of_own[:, None] == row_of[None, :])
        to_videos = same.reshape(len(own_queries), len(rows), self._copies).any(2)
        return to_videos | self._pairs.known(own_queries, rows), same | self._pairs.known(queries, row_of_own).T

    def _draw(self, groups: Int64, step: int) -> Int64:
        """Give as many pairs as are asked for of each group; a pair comes twice only where there are too few."""
        if self._copies == 1:
            return groups
        random = np.random.default_rng([self._seed, step])
        found = [random.permutation(self._groups[group]) for group in groups]
        return np.concatenate([np.resize(group, self._copies) for group in found])


class GradedBatches:
    """Batches of judged rows: some queries, and some judged videos of each.

    Args:
        corpus: the prepared corpus.
        judged: what to learn from.
        maker: of tensors.
        settings: of the task.
        batch_size: queries of the global batch; fewer where there are fewer queries.
        seed: of the order and the draws.
        share: this process's.
        old: the old index that the task is to be compatible with; None = none.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        judged: Judged,
        maker: InputMaker,
        settings: GradedSettings,
        *,
        batch_size: int,
        seed: int,
        share: Share = Share(),
        old: OldIndex | None = None,
    ) -> None:
        self._corpus, self._judged, self._maker = corpus, judged, maker
        self._settings, self._seed, self._old = settings, seed, old
        size, self._part = share.cut(batch_size, len(judged.queries), "judged queries")
        self._plan = PairPlan(np.zeros(len(judged.queries), np.int64), batch_size=size, seed=seed)

    def __call__(self, step: int) -> GradedBatch:
        """Give this process's part of the batch of a step."""
        texts, query_of, rows, grades = self.draw(step)
        with READING:
            videos = self._corpus.read(rows.tolist())
        videos = [with_pictures(video, self._settings.reads) for video in videos]
        return GradedBatch(
            settings=self._settings,
            names=[f"{video.doc_id} for '{texts[i]}'" for video, i in zip(videos, query_of, strict=True)],
            queries=self._maker.queries(texts),
            documents=self._maker.documents(videos),
            query_of=torch.from_numpy(query_of),
            grades=torch.from_numpy(grades),
            old=None if self._old is None else self._old.of([video.doc_id for video in videos], texts),
        )

    def draw(self, step: int) -> tuple[list[str], Int64, Int64, Int64]:
        """Give this process's queries of a step, and of its judged rows the query's number, corpus row and grade."""
        random = np.random.default_rng([self._seed, step])
        with READING:
            drawn = [(query, self._drawn(int(query), random)) for query in self._plan.batch(step)][self._part]
        rows = np.concatenate([self._judged.rows[query][places] for query, places in drawn])
        grades = np.concatenate([self._judged.grades[query][places] for query, places in drawn])
        query_of = np.repeat(np.arange(len(drawn)), [len(places) for _, places in drawn])
        return [self._judged.queries[query] for query, _ in drawn], query_of, rows, grades

    def _drawn(self, query: int, random: np.random.Generator) -> Int64:
        return random.permutation(len(self._judged.rows[query]))[: self._settings.videos_per_query]


def _by_row(row_of: Int64) -> list[Int64]:
    """Give the numbers of the pairs of each row."""
    order = np.argsort(row_of, kind="stable")
    starts = np.flatnonzero(np.diff(row_of[order], prepend=-1))
    return np.split(order, starts[1:])


def _repeated(videos: list[PreparedVideo], copies: int) -> list[PreparedVideo]:
    return [video for video in videos for _ in range(copies)]


def row_groups_of(corpus: PreparedCorpus, rows: Int64) -> Int64:
    """Give the row group that holds each row."""
    starts = np.array([group.start for group in corpus.row_groups])
    return np.searchsorted(starts, rows, side="right") - 1


def without_title(video: PreparedVideo) -> PreparedVideo:
    """Give the video as if it had no title."""
    texts: Mapping[Modality, str] = {m: text for m, text in video.texts.items() if m is not Modality.TITLE}
    return replace(video, texts=texts)


def with_pictures(video: PreparedVideo, modalities: Collection[Modality]) -> PreparedVideo:
    """Give the video without the pictures that are not of these modalities: they need not be decoded."""
    cover = video.cover if Modality.COVER in modalities else None
    frames = video.frames if Modality.FRAMES in modalities else ()
    return replace(video, cover=cover, frames=frames)


def made_ahead(make: Callable[[int], T], steps: range, threads: int = 1) -> Iterator[T]:
    """Give make(step) for every step in order, the next ones being made while this one is used.

    Args:
        make: safe to call from several threads.
        steps: numbers of the steps.
        threads: how many are made at a time; as many finished ones wait at most.
    """
    left = iter(steps)
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        coming = deque(pool.submit(make, step) for step in islice(left, threads))
        while coming:
            batch = coming.popleft().result()
            coming.extend(pool.submit(make, step) for step in islice(left, 1))
            yield batch
