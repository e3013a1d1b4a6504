"""`metrics.jsonl`: one JSON object a line, for training steps and validations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmsearch.files import write_bytes


class MetricsLog:
    """Append metrics to a JSON Lines file.

    Args:
        path: the file; lines of steps after `total_steps` (a killed run wrote them past its last checkpoint) are
            removed first.
        total_steps: steps done so far.
    """

    def __init__(self, path: Path, total_steps: int) -> None:
        self._path = path
        kept = [line for line in self._lines() if line["total_steps"] <= total_steps]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def append(self, kind: str, stage: str, total_steps: int, values: dict[str, Any]) -> None:
        """Add a line: `kind` (train, validation), stage, steps done over all stages, and the values."""
        line = {"kind": kind, "stage": stage, "total_steps": total_steps, **values}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        found = []
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:  # the half line of a killed writer
                continue
        return found
