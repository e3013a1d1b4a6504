"""What a training run left in its folder, read with bounds: the folder may come from anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmsearch.errors import DataError
from mmsearch.report.diagnostics import NAME, Diagnostics, parse_diagnostics

_MAX_FILE = 4 << 20
_MAX_LINE = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run: the text of its `config.yaml`, its fingerprints, and its diagnostics.

    Args:
        path: the folder.
        config: `config.yaml` as it was written.
        fingerprints: content of `fingerprints.json`; empty while the run has not ended.
        diagnostics: what `python -m training diagnose` found; None when it was not run.
    """

    path: Path
    config: str
    fingerprints: Mapping[str, Any]
    diagnostics: Diagnostics | None

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Read the small files of a run.

        Raises:
            DataError: it is no folder of a run, or a file is too large, no UTF-8, or no JSON object.
        """
        if not (path / "config.yaml").is_file():
            raise DataError(f"{path}: no config.yaml in it; give the folder that `python -m training fit` wrote")
        config = _text(path / "config.yaml")
        diagnostics = parse_diagnostics(_object(path / NAME), str(path / NAME))
        return cls(path, config, _object(path / "fingerprints.json"), diagnostics)

    def data_path(self, name: str) -> Path | None:
        """Give a path of the section `data` of the settings, such as `corpus`; None when it is not given."""
        try:
            tree = yaml.safe_load(self.config)
        except (yaml.YAMLError, ValueError, RecursionError):
            return None
        data = tree.get("data") if isinstance(tree, dict) else None
        value = data.get(name) if isinstance(data, dict) else None
        return Path(value) if isinstance(value, str) and value else None

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Give the lines of `metrics.jsonl`; what is no JSON object (a killed writer left it) is warned of."""
        path, bad = self.path / "metrics.jsonl", 0
        if not path.is_file():
            return
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE):
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError):
                    values = None
                if isinstance(values, dict):
                    yield values
                else:
                    bad += 1
        if bad:
            _log.warning("%s: lines that are no JSON object, left out: %d", path, bad)


def _object(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds no JSON object")
    return value


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise DataError(f"{path}: is larger than {_MAX_FILE:,} bytes")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
