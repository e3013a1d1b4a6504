"""Settings of a report."""

from __future__ import annotations

from pydantic import Field

from mmsearch.config import Settings


class ReportSettings(Settings):
    """What a report shows, and how sure its intervals are."""

    aspect: str = "overall"
    """Which aspect of the judgments counts."""
    relevant: int | None = Field(default=None, ge=1)
    """Least grade that counts as relevant; None = 2, or 1 on a 0/1 scale."""
    resamples: int = Field(default=1_000, ge=100, le=100_000)
    """Bootstrap samples of the queries."""
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap."""
    baseline: str | None = None
    """Feature that wins and losses are counted from; None = with another index, its `content` (or else its last);
    alone, `perception`, or else the first."""
    challenger: str | None = None
    """Feature that wins or loses; None = `content`, or else the last that is no single modality."""
    against_label: str | None = Field(default=None, min_length=1, max_length=40)
    """What the other index is called before its features (`old:content`); None = the name of its folder."""
    num_examples: int = Field(default=3, ge=0, le=50)
    """Queries shown as wins, and as many as losses."""
    videos_per_example: int = Field(default=4, ge=1, le=20)
    """Videos shown of each ranking."""
    thumbnail_px: int = Field(default=96, ge=16, le=256)
    """Longest edge of a thumbnail."""
