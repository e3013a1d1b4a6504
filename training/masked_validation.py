"""Validation of masked autoencoding: the loss on pictures that stay the same, and a sheet of them to look at."""

from __future__ import annotations

import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models.inputs import InputMaker
from mmsearch.nn.distributed import rank
from training.learner import Learner
from training.mae_pictures import write_pictures
from training.pairs import Int64
from training.paths import RunPaths
from training.picture_batches import PictureBatches
from training.tasks import MaskedLearner, MaskedSettings

_PICTURES = 64


class MaskedValidation:
    """Pictures that are rebuilt again and again, under the same masks.

    Args:
        corpus: the prepared corpus: of validation, where there is one.
        rows: numbers of its videos with pictures; an even sample of 64 is taken.
        maker: of tensors.
        settings: of the task.
        paths: of the run.
    """

    def __init__(
        self, corpus: PreparedCorpus, rows: Int64, maker: InputMaker, settings: MaskedSettings, paths: RunPaths
    ) -> None:
        few = rows[:: max(len(rows) // _PICTURES, 1)][:_PICTURES]
        batches = PictureBatches(corpus, few, maker, settings, batch_size=len(few), seed=0)
        self._pictures, self._paths = batches(0).pictures, paths

    @torch.no_grad()
    def __call__(self, learner: Learner, total_steps: int) -> dict[str, dict[str, float]]:
        """Give `rebuild` `loss`, and write `pictures/STEPS.png`. The model is left in eval mode."""
        if not isinstance(learner, MaskedLearner):
            raise TypeError("only a masked autoencoder rebuilds pictures")
        learner.eval()
        device = learner.model.device
        pictures = self._pictures.to(device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            loss = float(learner.autoencoder(pictures))
        if rank() == 0:
            self._paths.pictures.mkdir(parents=True, exist_ok=True)
            write_pictures(self._paths.sheet(total_steps), learner.autoencoder.rebuild(pictures[:8]))
        return {"rebuild": {"loss": loss}}
