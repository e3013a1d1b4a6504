"""Batches of a stage by step number, made one ahead in a thread.

A batch is a pure function of (seed, stage, step): nothing needs to be saved to go on from any step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.sampler import PairPlan
from mmsearch.models.inputs import InputMaker
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality
from training.pairs import Judged, Pairs
from training.tasks import ContrastiveSettings, GradedBatch, GradedSettings, PairBatch

T = TypeVar("T")


class PairBatches:
    """Contrastive batches.

    Args:
        corpus: the prepared corpus.
        pairs: what to learn from.
        maker: of tensors.
        settings: of the task.
        batch_size: pairs a batch; fewer where there are fewer pairs.
        seed: of the order.
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
    ) -> None:
        self._corpus, self._pairs, self._maker, self._settings = corpus, pairs, maker, settings
        starts = np.array([rows.start for rows in corpus.row_groups])
        groups = np.searchsorted(starts, pairs.row_of, side="right") - 1
        self._plan = PairPlan(groups, batch_size=batch_size, seed=seed)

    def __call__(self, step: int) -> PairBatch:
        """Give the batch of a step."""
        numbers = self._plan.batch(step)
        queries, rows = self._pairs.query_of[numbers], self._pairs.row_of[numbers]
        videos = self._corpus.read(rows.tolist())
        if self._pairs.hide_title:
            videos = [without_title(video) for video in videos]
        same = (queries[:, None] == queries[None, :]) | (rows[:, None] == rows[None, :])
        return PairBatch(
            settings=self._settings,
            queries=self._maker.queries([self._pairs.queries[i] for i in queries]),
            documents=self._maker.documents(videos),
            positives=torch.from_numpy(same | self._pairs.known(queries, rows)),
            satisfied=torch.from_numpy(self._pairs.satisfied[numbers]),
        )


class GradedBatches:
    """Batches of judged rows: some queries, and some judged videos of each.

    Args:
        corpus: the prepared corpus.
        judged: what to learn from.
        maker: of tensors.
        settings: of the task.
        batch_size: queries a batch; fewer where there are fewer queries.
        seed: of the order and the draws.
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
    ) -> None:
        self._corpus, self._judged, self._maker = corpus, judged, maker
        self._settings, self._seed = settings, seed
        self._plan = PairPlan(np.zeros(len(judged.queries), np.int64), batch_size=batch_size, seed=seed)

    def __call__(self, step: int) -> GradedBatch:
        """Give the batch of a step."""
        random = np.random.default_rng([self._seed, step])
        rows: list[int] = []
        grades: list[int] = []
        query_of: list[int] = []
        queries = self._plan.batch(step)
        for place, query in enumerate(queries):
            judged = len(self._judged.rows[query])
            drawn = random.permutation(judged)[: self._settings.videos_per_query]
            rows += self._judged.rows[query][drawn].tolist()
            grades += self._judged.grades[query][drawn].tolist()
            query_of += [place] * len(drawn)
        return GradedBatch(
            settings=self._settings,
            queries=self._maker.queries([self._judged.queries[i] for i in queries]),
            documents=self._maker.documents(self._corpus.read(rows)),
            query_of=torch.tensor(query_of),
            grades=torch.tensor(grades),
        )


def without_title(video: PreparedVideo) -> PreparedVideo:
    """Give the video as if it had no title."""
    texts: Mapping[Modality, str] = {m: text for m, text in video.texts.items() if m is not Modality.TITLE}
    return replace(video, texts=texts)


def made_ahead(make: Callable[[int], T], steps: range) -> Iterator[T]:
    """Give make(step) for every step in order, the next one being made in a thread while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming = deque(pool.submit(make, step) for step in steps[:1])
        for step in steps:
            batch = coming.popleft().result()
            if step + 1 < steps.stop:
                coming.append(pool.submit(make, step + 1))
            yield batch
