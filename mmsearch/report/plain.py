"""Facts as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from mmsearch.metrics import Contrast, Result, tables
from mmsearch.metrics.report import Measured
from mmsearch.report.catalogue import Entry
from mmsearch.report.facts import Facts


def as_json(facts: Facts) -> dict[str, Any]:
    """Give all numbers of a report. What is not defined is None; texts and pictures of videos are left out."""
    plain: dict[str, Any] = _plain(facts)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Measured):
        told = {"name": value.source.name, "oddities": value.source.oddities, "by_grade": _plain(value.grades)}
        return told | tables.as_json(value.evaluation)
    if isinstance(value, Contrast):
        return tables.contrast_json(value)
    if isinstance(value, Result):
        return {"name": value.name} | tables.result_json(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        return {name: _plain(part) for name, part in parts.items() if not isinstance(part, Entry)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
