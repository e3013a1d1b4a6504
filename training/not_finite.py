"""What to tell when a gradient is not a finite number: which videos and queries the batch held."""

from __future__ import annotations

import torch

from mmsearch.errors import DataError
from mmsearch.files import write_json
from mmsearch.nn.distributed import rank
from training.learner import Batch, ChunkedLearner, Learner
from training.paths import RunPaths
from training.representations import Representations
from training.tasks import GradedBatch

_TOLD = 5


def explain(learner: Learner, batch: Batch, stage: str, step: int, paths: RunPaths) -> DataError:
    """Give the error, and write all names of the batch into `bad_batch-RANK.json` of the run."""
    suspects = _suspects(learner, batch)
    path = paths.bad_batch(rank())
    write_json(path, {"stage": stage, "step": step, "suspects": suspects, "batch": list(batch.names)})
    told = ", ".join((suspects or list(batch.names))[:_TOLD])
    what, advice = "vectors that are no numbers come from", "Look at these first; else lower optim.lr"
    if not suspects:
        what = "the batch begins with"
    elif len(suspects) == len(batch.names) > 1:  # no single row is to blame
        what, advice = (
            "no vector of the batch is a number any more, as those of",
            "Lower optim.lr, or raise warmup_steps",
        )
    return DataError(
        f"stage '{stage}', step {step}: the loss or its gradient is not finite; {what} {told} (all names: {path}). "
        f"{advice}. The last checkpoint is whole"
    )


@torch.no_grad()
def _suspects(learner: Learner, batch: Batch) -> list[str]:
    """Give the names whose vectors are not finite, where the learner has vectors."""
    if not isinstance(learner, ChunkedLearner):
        return []
    given = learner(batch, embed_only=True)
    bad = torch.zeros(len(batch.names), dtype=torch.bool)
    for kind, vectors in given.vectors.items() if isinstance(given, Representations) else ():
        wrong = ~vectors.flatten(1).isfinite().all(1).cpu()
        if isinstance(batch, GradedBatch) and kind.startswith(("teacher/", "student/")):
            bad |= wrong[batch.query_of]
        else:
            bad |= wrong.repeat_interleave(len(bad) // len(wrong))  # pairs may share their video
    return [name for name, found in zip(batch.names, bad.tolist(), strict=True) if found]
