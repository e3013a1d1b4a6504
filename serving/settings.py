"""Settings of a refresh, and of reranking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mmsearch.config import Settings
from serving.executors import ExecutorSettings, LocalSettings


class RefreshSettings(Settings):
    """How a corpus is embedded and stored.

    `dtype`, `served` and `single_modalities` decide what is served; null = as what is served, so that a refresh that
    does not name them goes on with the same features. Another one than what is served embeds every video again.
    """

    model: Path | None = None
    """Folder of a trained model; the option `--model` comes before it."""
    corpus: Path | None = None
    """Folder of a prepared corpus; the option `--corpus` comes before it."""
    index: Path | None = None
    """Folder of the forward index; the option `--index` comes before it."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Videos embedded at once; halved by itself where memory lacks."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`."""
    dtype: Literal["float16", "float32", "int8"] | None = None
    """How vectors are stored. Half floats move a cosine by less than 0.001 and take half the room; bytes with a scale
    for each vector take a quarter. Null = as what is served, `float16` at first."""
    served: Literal["mean", "codes"] | None = None
    """What stands for a video in `perception` and `content`: the `mean` of its codes, one vector; or all its `codes`,
    scored as the model's `poly.selection` says, in as many times the room as there are codes.
    Null = as what is served, the `mean` at first."""
    single_modalities: bool | None = None
    """Also store the content vector of each modality alone (`content.title` …): one more feature each. Null = as what
    is served, not at first."""
    query_tower_precision: Literal["fp32", "int8"] | None = None
    """Precision of the query tower's weights. `int8` takes a third of the time of `fp32` a query and a quarter of the
    room; query vectors move by a cosine of 0.0001. Null = as what is served, `fp32` at first. Another one than what is
    served publishes the same vectors with a new query tower."""
    keep: tuple[Literal["cover", "frames"], ...] = ()
    """Picture towers whose outputs are kept in `INDEX/.towers`: a video of which only texts changed then costs no
    picture, and neither does a model of which only fusion, texts or projections were trained on. 10 to 60 kB a video.
    Needs the extra `refresh`."""
    shard_size: Annotated[int, Field(ge=1)] = 1024
    """Videos that are embedded and committed together; so many are done again when a worker is lost."""
    check_sample: Annotated[int, Field(ge=0)] = 16
    """Videos that are embedded once more before they are served, and compared with what was written; 0 = none."""
    keep_generations: Annotated[int, Field(ge=1)] = 2
    """How many of the newest generations stay on the disk, to go back to; those that a reader holds stay as well."""
    max_deleted_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A refresh that would delete more than this share of the served videos is refused before anything is embedded:
    a table that was cut, or a folder of media that was moved, looks like that. It counts from 20 deleted videos on;
    1 = never refuse."""
    anew: bool = False
    """Embed every video, whatever is served."""
    retry_quarantined: bool = False
    """Try videos again that failed before with the same content and model."""
    publish_every: Annotated[int, Field(ge=1)] | None = None
    """While a new model's vectors replace an older one's: publish what is there after every so many videos; null = only
    the whole at the end. Searchers then see both models' vectors, each with its own query tower."""
    executor: ExecutorSettings = LocalSettings()
    """Where videos are embedded: processes of this machine, or a Ray cluster."""


class RerankSettings(Settings):
    """How candidates are scored anew. None of it changes an order but by rounding."""

    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pairs of a query and a video scored at once; halve it when the GPU runs out of memory."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`."""
