"""What a finished run is judged by, read from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError
from training.comparison.runs import Run
from training.tracking import flat, read_metrics

#: The groups of a validation's figures that are positive-to-negative ratios.
_RATIOS = ("pnr", "pair_pnr", "old_pnr")
_MAX_HEADER = 64 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run.

    Args:
        values: every figure of the validation of its weights, by name.
        ratios: names of those that are ratios of counts, 0 to infinity: their logarithms are averaged and compared.
        minutes: how long it took; None where that is not recorded.
        parameters: numbers in its model; None where the model is not there.
    """

    values: dict[str, float]
    ratios: frozenset[str]
    minutes: float | None
    parameters: int | None


def read_outcome(run: Run) -> Outcome:
    """Read what a comparison needs of a run: validation figures, minutes, parameters.

    The figures are those of the last stage: of its last validation with `best: true` (a run that keeps the weights of
    its best validation marks it so), or else of its last validation.

    Raises:
        DataError: its last stage has no validation.
    """
    path = run.folder / "metrics.jsonl"
    lines = read_metrics(path)
    stage = lines[-1].get("stage") if lines else None
    found = [line for line in lines if line.get("kind") == "validation" and line.get("stage") == stage]
    if not found:
        raise DataError(f"{path}: no validation in its last stage; give data.val_judgments")
    kept = [line for line in found if line.get("best") is True] or found
    own = {name: value for name, value in kept[-1].items() if name not in ("kind", "stage", "total_steps")}
    seconds = run.seconds()
    return Outcome(
        values=flat(own),
        ratios=frozenset(flat({group: own.get(group) for group in _RATIOS})),
        minutes=None if seconds is None else seconds / 60,
        parameters=_count_parameters(run.folder / "model.safetensors"),
    )


def _count_parameters(path: Path) -> int | None:
    """Count the numbers in a safetensors file by its header: 8 bytes of length, then JSON with the shapes."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _MAX_HEADER)))
    total = 0
    for name, entry in header.items():
        if name != "__metadata__":
            numbers = 1
            for size in entry["shape"]:
                numbers *= size
            total += numbers
    return total
