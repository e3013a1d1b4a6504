"""A model folder of any checkpoint, while the run goes on or after it was given up."""

from __future__ import annotations

from pathlib import Path

from mmsearch.errors import ConfigError, DataError
from mmsearch.models.checkpoint import build_model, save_model
from training.checkpoints import read_tensors
from training.paths import RunPaths
from training.weights import put_weights


def export(run: Path, out: Path, *, step: int | None = None, best: bool = False) -> Path:
    """Write the model of a checkpoint as a folder that refresh and scoring read.

    Checkpoints hold whole tensors, also those of ZeRO runs: this only leaves out what a task added, and the optimizer.

    Args:
        run: folder of the run.
        out: model folder to write.
        step: steps done over all stages; None = the newest checkpoint.
        best: take the best weights of the stage that is under way instead.

    Raises:
        ConfigError: there is no such checkpoint; the message names those that there are.
        DataError: the folder is not of a run.
        CorruptIndexError: the checkpoint cannot be read, or is of another model.
    """
    if not (run / "config.json").is_file():
        raise DataError(f"{run}: is not the folder of a run; give `run.dir` of a `training fit`")
    checkpoint = _checkpoint(RunPaths(run).checkpoints, step, best)
    model, tokenizer = build_model(run)
    tensors = read_tensors(checkpoint, "model")
    if (checkpoint / "average.safetensors").is_file():  # what is validated and kept, where `run.ema_decay` is given
        tensors |= read_tensors(checkpoint, "average")
    put_weights(model, {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    save_model(out, model, tokenizer)
    return out


def _checkpoint(folder: Path, step: int | None, best: bool) -> Path:
    if best and (folder / "best").is_dir():
        return folder / "best"
    found = sorted(path for path in folder.glob("*") if path.name.isdigit())
    wanted = [path for path in found if step is None or int(path.name) == step]
    if best or not wanted:
        there = ", ".join(str(int(path.name)) for path in found) or "none"
        raise ConfigError(
            f"{folder}: has no {'best weights' if best else f'checkpoint of step {step}'}; steps: {there}"
        )
    return wanted[-1]
