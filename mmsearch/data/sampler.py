"""Which pairs a training step sees: computed from (seed, epoch, position), so any step can be asked for directly.

Pairs are shuffled by the row group that holds their video: row groups in random order, the pairs of `window` row
groups mixed. A reader then opens each row group about once an epoch, and a corpus that fits in the window is shuffled
without any limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError

Int64 = npt.NDArray[np.int64]


class PairPlan:
    """Batches of pair numbers, by step.

    Args:
        row_groups: the row group of each pair's video, [P].
        batch_size: pairs a batch. Every batch is full: the last few pairs of an epoch that fill none wait for the
            next shuffle.
        seed: of the order.
        window: row groups mixed at a time.

    Raises:
        DataError: there are no pairs at all.
    """

    def __init__(self, row_groups: Int64, *, batch_size: int, seed: int, window: int = 16) -> None:
        if len(row_groups) == 0:
            raise DataError("there is no pair to learn from; are the videos of the pairs in the corpus?")
        self.batch_size = min(batch_size, len(row_groups))
        self.batches_per_epoch = len(row_groups) // self.batch_size
        self._seed, self._window = seed, window
        by_group = np.argsort(row_groups, kind="stable")
        starts = np.flatnonzero(np.diff(row_groups[by_group], prepend=-1))
        self._groups: Sequence[Int64] = np.split(by_group, starts[1:])
        self._epoch: tuple[int, Int64] | None = None

    def batch(self, step: int) -> Int64:
        """Give the pair numbers of a step (counted from 0), [batch_size]."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.order(epoch))
        start = position * self.batch_size
        return self._epoch[1][start : start + self.batch_size]

    def order(self, epoch: int) -> Int64:
        """Give all pair numbers in the order of an epoch; each stands in it exactly once."""
        random = np.random.default_rng([self._seed, epoch])
        groups = [self._groups[i] for i in random.permutation(len(self._groups))]
        windows = [np.concatenate(groups[i : i + self._window]) for i in range(0, len(groups), self._window)]
        return np.concatenate([random.permutation(window) for window in windows])
