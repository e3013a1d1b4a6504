"""The steps of fine-tuning, with checkpoints and validations."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmsearch.errors import DataError
from mmsearch.logs import ProgressBar, progress
from training.checkpoints import Position, best_is_whole, read_best, read_tensors, save_best, save_checkpoint
from training.optim import make_optimizer, optimizer_tensors, restore_optimizer
from training.paths import RunPaths
from training.sft.answering import answer_loss
from training.sft.examples import Example
from training.sft.model import adapter_weights, put_adapter
from training.sft.settings import SftSettings
from training.tracking import Tracker

#: Names the figures in checkpoints and metrics.
STAGE = "sft"
_log = logging.getLogger(__name__)


class SftLoop:
    """Move the adapter of a model.

    Dropout of a step is drawn from (seed, step), so that going on from a checkpoint equals running through, bit for
    bit on a CPU.

    Args:
        model: with an adapter; only that is learned.
        settings: of the run.
        batches: gives the examples of a step.
        validate: gives figures of the model; empty without anything to validate on.
        tracker: told of metrics.
        run_hash: written into checkpoints.
    """

    def __init__(
        self,
        model: Any,
        settings: SftSettings,
        batches: Callable[[int], list[Example]],
        validate: Callable[[Any], dict[str, float]],
        tracker: Tracker,
        run_hash: str,
    ) -> None:
        self._model, self._settings, self._batches, self._validate = model, settings, batches, validate
        self._tracker, self._run_hash = tracker, run_hash
        self._checkpoints = RunPaths(settings.run.dir).checkpoints
        self._optimizer = make_optimizer(model, settings.optim)
        self._best: float | None = None
        self._since_best = 0
        self._figures: dict[str, float] = {}

    def resume(self, checkpoint: str, position: Position) -> None:
        """Put back what a checkpoint holds."""
        folder = self._checkpoints / checkpoint
        put_adapter(self._model, read_tensors(folder, "model"))
        restore_optimizer(self._model, self._optimizer, read_tensors(folder, "optimizer"))
        if position.best is not None and not best_is_whole(self._checkpoints):
            return
        self._best, self._since_best = position.best, position.since_best
        self._figures = position.figures.get(STAGE, {})

    def run(self, start: int) -> dict[str, float]:
        """Train from step `start` to the end; leave the best adapter (or the last) in the model and in a checkpoint.

        Returns:
            Validation figures of what is left; empty without validation.

        Raises:
            DataError: the gradient is not a finite number; the message names the pairs of the batch.
        """
        settings, run = self._settings, self._settings.run
        done = start
        if start == 0:
            self._validated(0)
        with progress("fine-tuning", settings.steps, unit="steps") as bar:
            bar.skip(start)
            for step in range(start, settings.steps):
                begin = time.perf_counter()
                batch = self._batches(step)
                loss, norm = self._step(batch, step)
                done, last = step + 1, step + 1 == settings.steps
                bar.advance()
                if last or done % run.log_every == 0:
                    self._record(loss, norm, batch, done, time.perf_counter() - begin, bar)
                validated = last or done % run.validate_every == 0
                if validated and self._validated(done):
                    _log.info("no better figure for %d validations; it ends here", self._since_best)
                    break
                new_best = validated and self._best is not None and self._since_best == 0
                if not last and (done % run.save_every == 0 or new_best):
                    self._save(done)
        return self._end(done)

    def _step(self, batch: list[Example], step: int) -> tuple[float, float]:
        """Take one step; give the mean loss of an answer's token and the length of the gradient."""
        settings, size = self._settings, self._settings.chunk_size
        torch.manual_seed((settings.run.seed + 1) * 1_000_003 + step)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.optim.rate(step, settings.steps) * group["scale"]
        self._model.train()
        count = sum(len(one.answer) for one in batch)
        total = 0.0
        for at in range(0, len(batch), size):
            loss = answer_loss(self._model, batch[at : at + size], settings.run.precision) / count
            loss.backward()
            total += float(loss.detach())
        learned = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(learned, settings.optim.clip_norm))
        if not math.isfinite(norm):
            names = ", ".join(one.name for one in batch[:5])
            raise DataError(
                f"step {step}: the loss or its gradient is not finite; the batch begins with {names}. "
                "Lower optim.lr. The last checkpoint is whole"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total, norm

    def _record(
        self, loss: float, norm: float, batch: list[Example], done: int, seconds: float, bar: ProgressBar
    ) -> None:
        bar.note(f"loss {loss:.3f}")
        values = {
            "loss": round(loss, 5),
            "grad_norm": round(norm, 5),
            "lr": self._settings.optim.rate(done - 1, self._settings.steps),
            "tokens_per_s": round(sum(one.num_tokens for one in batch) / seconds, 1),
        }
        self._tracker.append("train", STAGE, done, values)

    def _validated(self, done: int) -> bool:
        """Validate, keep the adapter if it is the best so far, and tell whether patience has run out."""
        figures = self._validate(self._model)
        if not figures:
            return False
        select = self._settings.run.select
        figure = -figures[select] if select == "loss" else figures[select]
        is_best = figure > (-math.inf if self._best is None else self._best)
        if is_best:
            self._best, self._since_best, self._figures = figure, 0, figures
            save_best(self._checkpoints, adapter_weights(self._model))
        else:
            self._since_best += 1
        self._tracker.append("validation", STAGE, done, {**figures, "best": True} if is_best else figures)
        told = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
        _log.info("step %d of %d: %s", done, self._settings.steps, told)
        patience = self._settings.patience
        return patience is not None and self._since_best >= patience

    def _save(self, done: int) -> None:
        files = {
            "model": adapter_weights(self._model),
            "optimizer": optimizer_tensors(self._model, self._optimizer),
        }
        save_checkpoint(self._checkpoints, files, self._position(done))

    def _end(self, done: int) -> dict[str, float]:
        if self._best is not None:
            put_adapter(self._model, read_best(self._checkpoints))
        left: dict[str, Tensor] = adapter_weights(self._model)
        if self._best is not None and not any(bool(t.any()) for name, t in left.items() if "lora_B" in name):
            _log.warning("no validation was better than the one before the first step: the adapter changes nothing")
        save_checkpoint(self._checkpoints, {"model": left}, self._position(done, ended=True))
        return self._figures

    def _position(self, done: int, *, ended: bool = False) -> Position:
        figures = {STAGE: self._figures}
        return Position(0, done, done, self._run_hash, ended, self._best, self._since_best, figures)
