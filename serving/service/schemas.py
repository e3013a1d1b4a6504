"""Requests and answers, as OpenAPI tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from serving.service.settings import ServeSettings

#: An answer that a client wants sooner than that cannot be given over a network.
MIN_DEADLINE_MS, MAX_DEADLINE_MS = 1.0, 60_000.0


class _Request(BaseModel):
    # ids are seldom the same twice, and a cache of them costs more than they do
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, cache_strings="keys")


class ScoreRequest(_Request):
    """A query and its candidates."""

    query: str
    """What the searcher typed. One that says nothing (blanks) has no features."""
    doc_ids: list[str]
    """The candidates; one that is not in the index has no features."""
    model: str | None = None
    """Name of a served model; null = the default one."""
    deadline_ms: Annotated[float, Field(ge=MIN_DEADLINE_MS, le=MAX_DEADLINE_MS)] | None = None
    """Time from the arrival of the request, in milliseconds. What is not scored then is null, and `late` is true."""


class SearchRequest(_Request):
    """A query to find videos for."""

    query: str
    """What the searcher typed."""
    k: int = 20
    """How many videos."""
    space: str | None = None
    """The space that is searched; null = `content`, or else the last one."""
    among: Literal["all", "judged"] = "all"
    """Search `all` videos of the index, or rank those alone that people `judged` for this query."""
    model: str | None = None
    """Name of a served model; null = the default one."""


class ExplainRequest(_Request):
    """A query and one video."""

    query: str
    """What the searcher typed."""
    doc_id: str
    """The video."""
    model: str | None = None
    """Name of a served model; null = the default one."""


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    request_id: str
    """The header `X-Request-ID` of the request, or one that was made for it."""


class ScoredDoc(BaseModel):
    """A candidate with its features."""

    doc_id: str
    values: list[float | None]


class ScoreAnswer(_Answer):
    """Features of the candidates, in the order asked."""

    model: str
    """Name of the model."""
    generation: str
    """The generation of the index that answered; all of an answer is of one."""
    names: list[str]
    """The features, in the order of `values`."""
    late: bool
    """Whether the deadline passed before all features were there."""
    docs: list[ScoredDoc]
    """The candidates; null = the feature is missing."""


class FoundDoc(ScoredDoc):
    """A video that was found."""

    rank: int
    title: str | None
    has_cover: bool
    grade: int | None


class SearchAnswer(_Answer):
    """Videos, nearest first, with their features."""

    model: str
    generation: str
    space: str
    names: list[str]
    late: bool
    took_ms: float
    num_docs: int
    """Documents of the index."""
    judged: bool
    """Whether there are grades for this query."""
    max_grade: int | None
    """The highest grade of the judgments table."""
    docs: list[FoundDoc]


class Feature(BaseModel):
    """A feature, and what it is."""

    name: str
    definition: str
    derived: bool


class SpaceInfo(BaseModel):
    """An embedding space of an index."""

    name: str
    dim: int
    num_codes: int
    fingerprint: str


class ModelInfo(BaseModel):
    """A served model."""

    name: str
    generation: str
    num_docs: int
    default_space: str
    recall: str | None
    has_corpus: bool
    spaces: list[SpaceInfo]
    features: list[Feature]
    reload_error: str | None


class Bounds(BaseModel):
    """What a request may hold."""

    max_query_chars: int
    max_doc_ids: int
    max_k: int


class JudgmentsInfo(BaseModel):
    """The grades that are shown."""

    num_queries: int
    max_grade: int
    examples: list[str]


class FeaturesAnswer(_Answer):
    """The models, their features, and the bounds of requests."""

    default_model: str
    models: list[ModelInfo]
    limits: Bounds
    judgments: JudgmentsInfo | None


class ExplainAnswer(_Answer):
    """Why a video has the features that it has for a query: `mmsearch.scoring.Explanation`, and what is shown of it."""

    model_config = ConfigDict(extra="allow")

    model: str
    generation: str
    doc_id: str
    title: str | None
    has_cover: bool
    grade: int | None
    texts: dict[str, str]


class Health(BaseModel):
    """The process answers."""

    status: str


class Ready(Health):
    """The generation of every model."""

    models: dict[str, str]


def _whole(number: object) -> object:
    """Take 20.0 for 20, as JSON Schema does."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


@dataclass(frozen=True, slots=True)
class RequestTypes:
    """The requests, narrowed to the bounds of a service."""

    score: type[ScoreRequest]
    search: type[SearchRequest]
    explain: type[ExplainRequest]


def request_types(settings: ServeSettings) -> RequestTypes:
    """Give the types that requests are read with, so that OpenAPI tells the bounds as they are set."""
    query: Any = Annotated[str, Field(max_length=settings.max_query_chars)]
    ids: Any = Annotated[list[str], Field(max_length=settings.max_doc_ids)]
    k: Any = Annotated[int, Field(ge=1, le=settings.max_k), BeforeValidator(_whole)]
    default_k = min(20, settings.max_k)
    return RequestTypes(
        create_model("ScoreRequest", __base__=ScoreRequest, query=(query, ...), doc_ids=(ids, ...)),
        create_model("SearchRequest", __base__=SearchRequest, query=(query, ...), k=(k, default_k)),
        create_model("ExplainRequest", __base__=ExplainRequest, query=(query, ...)),
    )
