"""What a run tells while it trains: `metrics.jsonl`, one JSON object a line, and TensorBoard where it is wished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mmsearch.extras import require
from mmsearch.files import write_bytes
from mmsearch.models.checkpoint import disk_errors_told

#: Figures of a line that need no name of their own: validation is by PNR, unless it says otherwise.
_UNNAMED = "pnr"


class MetricsLog:
    """Append metrics to a JSON Lines file.

    Args:
        path: the file; lines of steps after `total_steps` (a killed run wrote them past its last checkpoint) are
            removed first.
        total_steps: steps done so far.
    """

    def __init__(self, path: Path, total_steps: int) -> None:
        self._path = path
        kept = [line for line in read_metrics(path) if line["total_steps"] <= total_steps]
        with disk_errors_told(path):
            write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def append(self, kind: str, stage: str, total_steps: int, values: Mapping[str, Any]) -> None:
        """Add a line: `kind` (train, validation), stage, steps done over all stages, and the values.

        Raises:
            DataError: the disk refuses.
        """
        line = {"kind": kind, "stage": stage, "total_steps": total_steps, **values}
        with disk_errors_told(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Tracker:
    """Tell metrics to `metrics.jsonl` and, where it is wished, to TensorBoard (`tensorboard/`).

    A run that goes on from a checkpoint tells no step twice. In TensorBoard the figures are named as in the file:
    `train/loss`, `train/teacher/cover`, `validation/student/content` (PNR).

    Args:
        folder: of the run.
        total_steps: steps done so far; what was told of later ones is withdrawn.
        tensorboard: whether TensorBoard is told too.
        rank: of this process; all but rank 0 tell nothing and touch no file.

    Raises:
        MissingExtraError: TensorBoard is wished and not installed.
    """

    def __init__(self, folder: Path, total_steps: int, *, tensorboard: bool = False, rank: int = 0) -> None:
        self._log = MetricsLog(folder / "metrics.jsonl", total_steps) if rank == 0 else None
        self._board = _board(folder / "tensorboard", total_steps) if tensorboard and rank == 0 else None

    def append(self, kind: str, stage: str, total_steps: int, values: Mapping[str, Any]) -> None:
        """Tell values: `kind` (train, validation), stage, steps done over all stages."""
        if self._log is not None:
            self._log.append(kind, stage, total_steps, values)
        if self._board is not None:
            for name, value in flat(values).items():
                self._board.add_scalar(f"{kind}/{name}", value, total_steps)
            self._board.flush()  # else a killed run loses what its checkpoint remembers

    def picture(self, name: str, path: Path, total_steps: int) -> None:
        """Show a picture file (RGB) in TensorBoard under a name; do nothing where TensorBoard is not wished."""
        if self._board is None:
            return
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._board.add_image(name, pixels, total_steps, dataformats="HWC")
        self._board.flush()

    def close(self) -> None:
        """End the telling."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Tracker:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Give the lines of a `metrics.jsonl`, without those that a killed writer left in half; none without a file."""
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("total_steps"), int):
            found.append(line)
    return found


def flat(values: Mapping[str, Any]) -> dict[str, float]:
    """Give the numbers of a line by name: those of a group as `group/name`, those of the group `pnr` as `name`."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            prefix = "" if name == _UNNAMED else f"{name}/"
            found |= {f"{prefix}{inner}": number for inner, number in flat(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return found


def _board(folder: Path, total_steps: int) -> Any:
    require("tensorboard", extra="tensorboard")
    writer = require("torch.utils.tensorboard", extra="tensorboard").SummaryWriter
    return writer(str(folder), purge_step=total_steps + 1 if total_steps else None)
