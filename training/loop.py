"""One stage: batches in, steps, checkpoints, validations and metrics out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mmsearch.logs import ProgressBar, progress
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import barrier, of_rank_0, rank, sum_over_ranks, world_size
from training.averaging import Average
from training.batches import made_ahead
from training.checkpoints import (
    Figures,
    Position,
    best_is_whole,
    read_best,
    read_tensors,
    save_best,
    save_checkpoint,
)
from training.config import RunSettings, StageSettings
from training.engines.base import Engine
from training.freezing import Freezing
from training.learner import Batch, Learner
from training.meter import Meter
from training.not_finite import explain
from training.paths import RunPaths
from training.tracking import Tracker

_log = logging.getLogger(__name__)

#: Share of a figure by which another seed moves it in short runs (docs/lab-notes.md).
_CHANCE = 0.1


@dataclass
class Stage:
    """What a stage needs to run.

    Args:
        number: its place in the run.
        settings: its settings.
        batches: gives this process's part of the batch of a step.
        steps_before: steps of the stages before.
        validate: gives validation figures of a learner after so many steps.
        select: names the figure by which the best weights are kept.
    """

    number: int
    settings: StageSettings
    batches: Callable[[int], Batch]
    steps_before: int
    validate: Callable[[Learner, int], Figures]
    select: str


class StageLoop:
    """Train one stage.

    Every step draws its random numbers (dropout, hidden modalities, crops) from (seed, stage, step, process), so that
    going on from a checkpoint equals running through, bit for bit on a CPU.

    Args:
        engine: moves the parameters.
        stage: what to do.
        run: how.
        paths: where to.
        tracker: told of metrics.
        run_hash: written into checkpoints.
        freezing: of the stage.
    """

    def __init__(
        self,
        engine: Engine,
        stage: Stage,
        run: RunSettings,
        paths: RunPaths,
        tracker: Tracker,
        run_hash: str,
        freezing: Freezing,
    ) -> None:
        self._engine, self._stage, self._run = engine, stage, run
        self._paths, self._tracker, self._run_hash, self._freezing = paths, tracker, run_hash, freezing
        self._average = None if run.ema_decay is None else Average(engine.learner, run.ema_decay)
        self._best: float | None = None
        self._since_best = 0
        self._left: Figures = {}  # of the weights that would be left now

    def resume(self, checkpoint: str, position: Position) -> None:
        """Put back what a checkpoint of this stage holds."""
        folder = self._paths.checkpoints / checkpoint
        self._engine.load(read_tensors(folder, "model"), read_tensors(folder, "optimizer"))
        if self._average is not None:
            self._average.load(read_tensors(folder, "average"))
        if position.best is not None and self._run.keep == "best" and not best_is_whole(self._paths.checkpoints):
            return  # those of the steps to come count
        self._best, self._since_best, self._left = position.best, position.since_best, position.figures

    def run(self, start: int) -> tuple[dict[str, Tensor], Figures]:
        """Train from step `start` to the end, and leave a checkpoint of what the stage leaves.

        Returns:
            The weights that the stage leaves (of its best validation, or the last), and their figures.

        Raises:
            DataError: the gradient is not a finite number; the message names the videos and queries of the batch.
        """
        settings, run = self._stage.settings, self._run
        model: MatchModel = self._engine.learner.model
        meter = Meter(model.device, world_size=world_size(), precision=run.precision, peak_tflops=run.peak_tflops)
        steps = range(start, settings.steps)
        batches = meter.waited(made_ahead(self._stage.batches, steps, run.load_threads))
        self._freezing.train_mode()
        with progress(settings.name, settings.steps, unit="steps") as bar:
            bar.skip(start)
            for step, batch in zip(steps, batches, strict=True):
                losses = meter.step(len(batch), lambda batch=batch, step=step: self._step(batch, step))  # type: ignore[misc]
                done = step + 1
                last = done == settings.steps
                bar.advance()
                if last or done % run.log_every == 0:
                    self._record(losses, done, meter, bar)
                validated = last or done % run.validate_every == 0
                if validated and self._validated(done):
                    _log.info("%s: no better figure for %d validations; it ends here", settings.name, self._since_best)
                    break
                # a run that goes on must know the figure of the best weights that it finds
                new_best = validated and self._best is not None and self._since_best == 0
                if not last and (done % run.save_every == 0 or new_best):
                    self._save(done)
        return self._end(done)

    def _step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        settings = self._stage.settings
        # far apart: seeds one apart would give a process the numbers that another had in the step before
        torch.manual_seed(_mix(self._run.seed, self._stage.number, step) + (rank() << 32))
        rate = settings.optim.rate(step, settings.steps)
        losses = self._engine.step(batch, [rate * scale for scale in self._engine.scales])
        if not torch.isfinite(losses["grad_norm"]):
            self._engine.weights()  # an engine that splits parameters puts them into the learner
            raise explain(self._engine.learner, batch, settings.name, step, self._paths)
        if self._average is not None:
            self._average.update()
        return losses

    def _record(self, losses: Mapping[str, Tensor], done: int, meter: Meter, bar: ProgressBar) -> None:
        settings, device = self._stage.settings, self._engine.learner.model.device
        # each process has its share: averaged they are the losses of the global batch
        mean = sum_over_ranks(torch.stack([value.detach().to(device) for value in losses.values()])) / world_size()
        values = {name: round(value, 5) for name, value in zip(losses, mean.tolist(), strict=True)}
        values["lr"] = settings.optim.rate(done - 1, settings.steps)
        values |= meter.flush()
        bar.note(f"loss {values['loss']:.3f}")
        self._tracker.append("train", settings.name, self._stage.steps_before + done, values)

    def _validated(self, done: int) -> bool:
        """Validate, keep the weights if they are the best so far, and tell whether patience has run out."""
        settings, learner = self._stage.settings, self._engine.learner
        weights = self._engine.weights()  # an engine that splits parameters puts them into the learner
        with self._averaged():
            found = self._stage.validate(learner, self._stage.steps_before + done)
            self._freezing.train_mode()
            if not found:
                return False
            figure = selected(found, self._stage.select)
            if figure is not None:  # processes that disagreed in the last digit would part ways
                figure = of_rank_0(figure, learner.model.device)
            # a figure that is no number (a broken loss) is never the best: no other would be greater
            is_best = figure is not None and figure > (-math.inf if self._best is None else self._best)
            if is_best:
                self._best, self._since_best = figure, 0
                if self._average is not None:
                    weights = self._engine.weights()
                if rank() == 0:
                    save_best(self._paths.checkpoints, weights)
            elif figure is not None:
                self._since_best += 1
            if is_best or self._run.keep == "last" or self._best is None:
                self._left = found
            told = {**found, "best": True} if is_best and self._run.keep == "best" else found
            self._tracker.append("validation", settings.name, self._stage.steps_before + done, told)
        sheet = self._paths.sheet(self._stage.steps_before + done)
        if rank() == 0 and sheet.is_file():
            self._tracker.picture("validation/rebuilt", sheet, self._stage.steps_before + done)
        _log.info("%s, step %d of %d: %s", settings.name, done, settings.steps, _words(found))
        return settings.patience is not None and self._since_best >= settings.patience

    def _save(self, done: int) -> None:
        files = {"model": self._engine.weights(), "optimizer": self._engine.moments()}
        if self._average is not None:
            files["average"] = self._average.tensors()
        if rank() == 0:
            save_checkpoint(self._paths.checkpoints, files, self._position(done))

    def _end(self, done: int) -> tuple[dict[str, Tensor], Figures]:
        barrier()  # the best weights are rank 0's to write and everybody's to read
        if self._best is not None and self._run.keep == "best":
            weights = read_best(self._paths.checkpoints)
        else:
            with self._averaged():
                weights = {name: tensor.clone() for name, tensor in self._engine.weights().items()}
        if rank() == 0:
            save_checkpoint(self._paths.checkpoints, {"model": weights}, self._position(done, ended=True))
        barrier()  # the next stage removes the best weights: all have read them
        return weights, self._left

    def _position(self, done: int, *, ended: bool = False) -> Position:
        stage = self._stage
        total = stage.steps_before + (stage.settings.steps if ended else done)
        return Position(stage.number, done, total, self._run_hash, ended, self._best, self._since_best, self._left)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        with nullcontext() if self._average is None else self._average.in_place():
            yield


def selected(found: Figures, select: str) -> float | None:
    """Give the figure of this name: PNR on judgments, or else on pairs, or minus a loss; None where there is none."""
    for kind in ("pnr", "pair_pnr"):
        if select in found.get(kind, {}):
            return found[kind][select]
    return -found["rebuild"][select] if select in found.get("rebuild", {}) else None


def tell_change(stage: str, select: str, before: Figures, after: Figures) -> None:
    """Log the figure of this name before and after a stage; as a warning where it got worse by more than chance may."""
    first, last = selected(before, select), selected(after, select)
    if first is None or last is None:
        return
    told = f"{stage}: {select} was {abs(first):.4g} before the stage and is {abs(last):.4g} after it"
    if last < first - _CHANCE * abs(first):
        _log.warning("%s, which is worse; lower its optim.lr, or do without the stage", told)
    else:
        _log.info("%s", told)


def _words(found: Figures) -> str:
    """Tell the student's figures."""
    parts = []
    for kind, values in found.items():
        told = {name.removeprefix("student/"): v for name, v in values.items() if not name.startswith("teacher/")}
        parts.append(f"{kind} " + ", ".join(f"{name} {value:.3g}" for name, value in told.items()))
    return "; ".join(parts)


def _mix(*numbers: int) -> int:
    """Give one seed for some numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % (1 << 63)
    return mixed
