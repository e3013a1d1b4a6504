"""Batches of pictures alone, for masked autoencoding."""

from __future__ import annotations

import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.sampler import PairPlan
from mmsearch.models.inputs import InputMaker
from mmsearch.types import Modality
from training.batches import READING, Int64, Share, row_groups_of, with_pictures
from training.tasks import MaskedSettings, PictureBatch

_WHOLE = Share()


class PictureBatches:
    """Batches of pictures alone.

    Args:
        corpus: the prepared corpus.
        rows: numbers of its videos that have a picture and may be learned from.
        maker: of tensors.
        settings: of the task.
        batch_size: videos of the global batch; each gives its cover, or its frames, or both.
        seed: of the order.
        share: this process's.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        rows: Int64,
        maker: InputMaker,
        settings: MaskedSettings,
        *,
        batch_size: int,
        seed: int,
        share: Share = _WHOLE,
    ) -> None:
        self._corpus, self._rows, self._maker, self._settings = corpus, rows, maker, settings
        size, self._part = share.cut(batch_size, len(rows), "videos with pictures")
        self._plan = PairPlan(row_groups_of(corpus, rows), batch_size=size, seed=seed)

    def __call__(self, step: int) -> PictureBatch:
        """Give this process's part of the batch of a step."""
        with READING:
            videos = self._corpus.read(self._rows[self._plan.batch(step)[self._part]].tolist())
        videos = [with_pictures(video, frozenset(map(Modality, self._settings.sources))) for video in videos]
        inputs = self._maker.documents(videos)
        frame_of = [video.doc_id for video in videos for _ in range(inputs.has_frame.shape[1])]
        found = {
            "cover": (inputs.cover[inputs.has_cover], [v.doc_id for v in videos if v.cover is not None]),
            "frames": (
                inputs.frames.flatten(0, 1)[inputs.has_frame.flatten()],
                [name for name, real in zip(frame_of, inputs.has_frame.flatten().tolist(), strict=True) if real],
            ),
        }
        pictures = torch.cat([found[source][0] for source in self._settings.sources])
        return PictureBatch(self._settings, [n for s in self._settings.sources for n in found[s][1]], pictures)
