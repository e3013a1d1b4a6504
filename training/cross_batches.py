"""Batches of pairs for the cross-encoder, from the same plans as those of the towers.

Letters: b clicks of this process, K negatives, R pairs.
"""

from __future__ import annotations

import numpy as np
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from mmsearch.models.inputs import InputMaker
from training.batches import READING, Bool, GradedBatches, Int64, PairBatches, Share
from training.pairs import Judged, Pairs
from training.tasks import ContrastiveSettings, CrossBatch, CrossSettings, GradedSettings


class CrossClickBatches:
    """Clicks, each with negatives from its own batch.

    A process draws from its own part of the batch: so that all learn from the same negatives, whatever their number,
    the tokens of every video would have to be sent to every process.

    Args:
        corpus: the prepared corpus.
        pairs: clicks.
        maker: of tensors.
        settings: of the task.
        batch_size: clicks of the global batch; fewer where there are fewer.
        seed: of the order and the draws.
        share: this process's.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        pairs: Pairs,
        maker: InputMaker,
        settings: CrossSettings,
        *,
        batch_size: int,
        seed: int,
        share: Share,
    ) -> None:
        self._settings, self._seed, self._rank = settings, seed, share.rank
        task = ContrastiveSettings(spaces=["content"])
        self._pairs = PairBatches(corpus, pairs, maker, task, batch_size=batch_size, seed=seed, share=share)
        if self._pairs.num_own == 1:
            raise DataError("one click a process has no negatives: nothing can be learned; raise batch_size")

    def __call__(self, step: int) -> CrossBatch:
        """Give this process's part of the batch of a step."""
        made = self._pairs(step)
        own = slice(made.first, made.first + len(made))
        random = np.random.default_rng([self._seed, step, self._rank])
        video_of, usable = choose_negatives(made.to_videos[:, own].numpy(), self._settings.num_negatives, random)
        if self._settings.only_satisfied:
            usable[:, 0] &= made.satisfied[own].numpy()
        grades = np.zeros_like(video_of)
        grades[:, 0] = 1
        return CrossBatch(
            settings=self._settings,
            names=made.names,
            queries=made.queries,
            documents=made.documents,
            query_of=torch.arange(len(made)).repeat_interleave(video_of.shape[1]),
            video_of=torch.from_numpy(video_of.ravel()),
            grades=torch.from_numpy(grades.ravel()),
            usable=torch.from_numpy(usable.ravel()),
        )


def choose_negatives(together: Bool, num_negatives: int, random: np.random.Generator) -> tuple[Int64, Bool]:
    """Draw negatives without repetition for every click of a batch.

    Args:
        together: True where query i and video j belong together, [b, b]; i and i do.
        num_negatives: K; b - 1 where there are no more videos.
        random: where chance comes from.

    Returns:
        Numbers of videos [b, 1 + K], the click's own first; and which may be used: where fewer than K videos are no
        positives, the last of a row are others, and are not.
    """
    order = random.random(together.shape) + together  # a negative is below 1
    np.fill_diagonal(order, -1)
    chosen = np.argsort(order, axis=1)[:, : 1 + num_negatives]
    usable = ~np.take_along_axis(together, chosen, axis=1)
    usable[:, 0] = True
    return chosen, usable


class CrossGradedBatches:
    """Judged rows of some queries; a video that is judged for several of them is there once.

    Args:
        corpus: the prepared corpus.
        judged: what to learn from.
        maker: of tensors.
        settings: of the task.
        batch_size: queries of the global batch; fewer where there are fewer queries.
        seed: of the order and the draws.
        share: this process's.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        judged: Judged,
        maker: InputMaker,
        settings: CrossSettings,
        *,
        batch_size: int,
        seed: int,
        share: Share,
    ) -> None:
        self._corpus, self._maker, self._settings = corpus, maker, settings
        task = GradedSettings(videos_per_query=settings.videos_per_query)
        self._graded = GradedBatches(corpus, judged, maker, task, batch_size=batch_size, seed=seed, share=share)

    def __call__(self, step: int) -> CrossBatch:
        """Give this process's part of the batch of a step."""
        texts, query_of, rows, grades = self._graded.draw(step)
        distinct, video_of = np.unique(rows, return_inverse=True)
        with READING:
            videos = self._corpus.read(distinct.tolist())
        return CrossBatch(
            settings=self._settings,
            names=[f"{videos[v].doc_id} for '{texts[q]}'" for v, q in zip(video_of, query_of, strict=True)],
            queries=self._maker.queries(texts),
            documents=self._maker.documents(videos),
            query_of=torch.from_numpy(query_of),
            video_of=torch.from_numpy(video_of),
            grades=torch.from_numpy(grades),
            usable=torch.ones(len(rows), dtype=torch.bool),
        )
