"""Curves of a training run, from its `metrics.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Points kept of a curve: more than a small chart can show.
MAX_POINTS = 300


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of training: it ran from step `start` to step `end` of the whole run."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over the steps of the whole run."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """All curves of a run.

    Args:
        stages: in the order in which they ran.
        train: what was logged of training steps, by name: `loss`, `lr`, `student/content`, `distil/content` …
        validation: PNR on held-out grades, by `tower/space`.
    """

    stages: tuple[Stage, ...]
    train: Mapping[str, Curve]
    validation: Mapping[str, Curve]


@dataclass(slots=True)
class _Growing:
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            self.steps.append(step)
            self.values.append(float(value))

    def thinned(self) -> Curve:
        last = len(self.steps) - 1
        kept = sorted({round(i * last / (MAX_POINTS - 1)) for i in range(MAX_POINTS)}) if last >= MAX_POINTS else None
        at = range(len(self.steps)) if kept is None else kept
        return Curve(tuple(self.steps[i] for i in at), tuple(self.values[i] for i in at))


def read_curves(lines: Iterable[Mapping[str, Any]]) -> Curves:
    """Collect the curves of a run; lines and values that are not what `training fit` writes are left out."""
    ends: list[tuple[str, int]] = []
    found: dict[str, dict[str, _Growing]] = {"train": {}, "validation": {}}
    for line in lines:
        kind, stage, step = line.get("kind"), line.get("stage"), line.get("total_steps")
        if kind not in found or not isinstance(stage, str) or not isinstance(step, int) or isinstance(step, bool):
            continue
        if ends and ends[-1][0] == stage:
            ends.pop()
        ends.append((stage, step))
        values = line.get("pnr") if kind == "validation" else line
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if name not in ("kind", "stage", "total_steps"):
                found[kind].setdefault(str(name), _Growing()).add(step, value)
    starts = [0, *(end for _, end in ends)]
    stages = tuple(Stage(name, start, end) for (name, end), start in zip(ends, starts, strict=False))
    thinned = {
        kind: {name: curve.thinned() for name, curve in curves.items() if curve.steps} for kind, curves in found.items()
    }
    return Curves(stages, thinned["train"], thinned["validation"])
