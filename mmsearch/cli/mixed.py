"""The option of every verb that scores: what to do with an index in which a new model replaces an older one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class OnMixed(StrEnum):
    """Which query tower scores a document of an index of two models."""

    MATCH = "match"
    NEWEST = "newest"
    REFUSE = "refuse"


OnMixedOption = Annotated[
    OnMixed,
    typer.Option(
        help="Of an index with vectors of two models: score each video with the query tower of its own model, all with "
        "the newest (trained to be compatible), or none."
    ),
]
