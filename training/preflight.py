"""What a later stage would stumble over, told before the first step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmsearch.errors import ConfigError
from mmsearch.models.match import MatchModel
from mmsearch.models.pretrained import start_from
from mmsearch.nn.distributed import rank
from mmsearch.text import Tokenizer
from training.config import StageSettings
from training.freezing import Freezing
from training.optim import make_optimizer
from training.reach import unreached
from training.stages import Sources

_log = logging.getLogger(__name__)


def check_stages(model: MatchModel, stages: Sequence[StageSettings], sources: Sources, tokenizer: Tokenizer) -> None:
    """Refuse what stages name and the model lacks: parameters, rates, a picture tower to mask, weights to start from.

    A stage that ends before its rate has risen is warned of.

    Args:
        model: one of the run's sizes, which is of no use afterwards.
        stages: those that are left to do.
        sources: of the run.
        tokenizer: of the run.

    Raises:
        ConfigError: a stage cannot run; the message names it.
    """
    for stage in stages:
        try:
            _check(model, stage, sources, tokenizer)
        except ConfigError as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from error


def _check(model: MatchModel, stage: StageSettings, sources: Sources, tokenizer: Tokenizer) -> None:
    warmup, steps = stage.optim.warmup_steps, stage.steps
    if warmup >= steps and rank() == 0:
        highest = stage.optim.rate(steps - 1, steps) / stage.optim.lr
        told = "stage '%s': %d steps are no more than optim.warmup_steps (%d): the rate ends at %.0f %% of optim.lr"
        _log.warning(told, stage.name, steps, warmup, 100 * highest)
    learner = sources.learner(model, stage)
    Freezing(learner, stage.train, stage.freeze, unreached(model, sources.tasks(stage)))
    make_optimizer(learner, stage.optim)
    if stage.start_from is not None:
        start_from(model, str(stage.start_from.run), stage.start_from.parts, tokenizer)
