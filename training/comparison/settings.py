"""What a comparison that stands in a settings file runs and measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mmsearch.config import Settings

Share = Annotated[float, Field(ge=0, lt=1)]


class CompareSettings(Settings):
    """Tables of named variants of the run, each with several seeds, measured on grades that no run has seen."""

    tables: dict[str, dict[str, dict[str, Any]]] = Field(min_length=1)
    """By table and variant, the settings that differ: `dotted.key: value`. The first variant of a table is what its
    others are compared with. A variant that stands in several tables is trained once."""
    judgments: Path
    """Human grades to measure on, relative to `data.root`; not those that choose the best weights."""
    seeds: int = Field(default=5, ge=1)
    """Runs of each variant: with `run.seed` as it is set, and the next ones."""
    space: Literal["perception", "content"] = "content"
    """Fused space that is measured, with the student's query vectors."""
    missing: list[Share] = Field(default=[0.0, 0.25, 0.5], min_length=1)
    """PNR is measured with each modality of each video gone with these probabilities, the same for all variants."""
