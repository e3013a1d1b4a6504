"""One stage: batches in, steps, checkpoints, validations and metrics out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mmsearch.errors import DataError
from mmsearch.logs import ProgressBar, progress
from mmsearch.models.match import MatchModel
from training.batches import made_ahead
from training.config import RunSettings, StageSettings
from training.optim import make_optimizer
from training.tasks import Batch
from training.tracking import MetricsLog

Optimizer = torch.optim.Optimizer

_log = logging.getLogger(__name__)


@dataclass
class Stage:
    """What a stage needs to run.

    Args:
        number: its place in the run.
        settings: its settings.
        batches: gives the batch of a step.
        steps_before: steps of the stages before.
    """

    number: int
    settings: StageSettings
    batches: Callable[[int], Batch]
    steps_before: int


@dataclass
class Hooks:
    """What a stage does beside learning.

    Args:
        save: called with the optimizer and the steps done when a checkpoint is due.
        restore: called with the fresh optimizer; puts back its state where the stage goes on from a checkpoint.
        validate: gives validation figures.
        metrics: the log.
    """

    save: Callable[[Optimizer, int], None]
    restore: Callable[[Optimizer], None]
    validate: Callable[[], dict[str, float]]
    metrics: MetricsLog


def run_stage(model: MatchModel, stage: Stage, run: RunSettings, start: int, hooks: Hooks) -> None:
    """Train one stage from step `start` to its end.

    Every step draws its random numbers (dropout, hidden modalities, crops) from (seed, stage, step), so that going
    on from a checkpoint equals running through, bit for bit on a CPU.

    Raises:
        DataError: the loss is not a finite number; the message names the stage and step.
    """
    settings = stage.settings
    optimizer = make_optimizer(model, settings.optim)
    hooks.restore(optimizer)
    model.train()
    begun = time.perf_counter()
    with progress(settings.name, settings.steps, unit="steps") as bar:
        bar.advance(start)
        for step, batch in zip(
            range(start, settings.steps), made_ahead(stage.batches, range(start, settings.steps)), strict=True
        ):
            torch.manual_seed(_mix(run.seed, stage.number, step))
            losses = _step(model, optimizer, batch, stage, run, step)
            done = step + 1
            bar.advance()
            if done % run.log_every == 0 or done == settings.steps:
                rate = (done - start) / (time.perf_counter() - begun)
                _record(losses, stage, done, rate, bar, hooks.metrics)
            if done % run.validate_every == 0 or done == settings.steps:
                _validate(stage, done, hooks)
            if done % run.save_every == 0 or done == settings.steps:
                hooks.save(optimizer, done)


def _step(
    model: MatchModel, optimizer: Optimizer, batch: Batch, stage: Stage, run: RunSettings, step: int
) -> dict[str, Tensor]:
    rate = stage.settings.optim.rate(step, stage.settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    with _autocast(run.precision, model.device):
        losses = batch.losses(model)
    losses["loss"].backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), stage.settings.optim.clip_norm)
    if not torch.isfinite(norm):
        raise DataError(f"stage '{stage.settings.name}', step {step}: the loss or its gradient is not finite")
    optimizer.step()
    model.bound_scales()
    return {**losses, "grad_norm": norm}


def _record(
    losses: dict[str, Tensor], stage: Stage, done: int, rate: float, bar: ProgressBar, metrics: MetricsLog
) -> None:
    values: dict[str, float] = {name: round(float(value.detach()), 5) for name, value in losses.items()}
    values["lr"] = stage.settings.optim.rate(done - 1, stage.settings.steps)
    values["steps_per_s"] = round(rate, 3)
    bar.note(f"loss {values['loss']:.3f}")
    metrics.append("train", stage.settings.name, stage.steps_before + done, values)


def _validate(stage: Stage, done: int, hooks: Hooks) -> None:
    found = hooks.validate()
    if not found:
        return
    hooks.metrics.append("validation", stage.settings.name, stage.steps_before + done, {"pnr": found})
    student = ", ".join(f"{n.removeprefix('student/')} {v:.2f}" for n, v in found.items() if n.startswith("student/"))
    _log.info("%s, step %d of %d: PNR on validation: %s", stage.settings.name, done, stage.settings.steps, student)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _mix(*numbers: int) -> int:
    """Give one seed for some numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % (1 << 63)
    return mixed
