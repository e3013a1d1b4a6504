"""Settings of a refresh, and of reranking."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmsearch.config import Settings


class RefreshSettings(Settings):
    """How a corpus is embedded and stored. `dtype`, `served` and `single_modalities` change what is served."""

    batch_size: Annotated[int, Field(ge=1)] = 64
    """Videos embedded at once; halve it when the GPU runs out of memory."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`."""
    dtype: Literal["float16", "float32"] = "float16"
    """How vectors are stored. Half floats move a cosine by less than 0.001 and take half the room."""
    served: Literal["mean", "codes"] = "mean"
    """What stands for a video in `perception` and `content`: the `mean` of its codes, one vector; or all its `codes`,
    scored as the model's `poly.selection` says, in as many times the room as there are codes."""
    single_modalities: bool = False
    """Also store the content vector of each modality alone (`content.title` …): one more feature each."""


class RerankSettings(Settings):
    """How candidates are scored anew. None of it changes an order but by rounding."""

    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pairs of a query and a video scored at once; halve it when the GPU runs out of memory."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`."""
