"""The endpoints below `/v1`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from mmsearch.scoring import FeatureScorer, RankFeatures
from serving.service.arrow import arrow_answer, wants_arrow
from serving.service.bodies import json_answer, read_body, rows_of, scored_docs
from serving.service.catalogue import catalogue
from serving.service.grades import Grades
from serving.service.metrics import Metrics
from serving.service.models import Model, Models
from serving.service.page_files import revalidated
from serving.service.problems import ProblemError, validated
from serving.service.recall import default_space, nearest_among
from serving.service.schemas import SearchRequest, request_types
from serving.service.settings import ServeSettings
from serving.service.shelf import Shown

T = TypeVar("T")
R = TypeVar("R", bound=Any)


class Api:
    """Answers requests from the models of the process.

    Args:
        settings: bounds.
        models: what is served.
        grades: human grades to show; None = none.
        metrics: counts.
    """

    def __init__(self, settings: ServeSettings, models: Models, grades: Grades | None, metrics: Metrics) -> None:
        self._settings, self._models, self._grades, self._metrics = settings, models, grades, metrics
        self.types = request_types(settings)

    async def score(self, request: Request) -> Response:
        """Give the features of the candidates of a query, in the order asked: JSON, or Arrow if `Accept` names it."""
        asked = await self._read(request, self.types.score)
        model = self._named(request, asked.model, asked.query)
        deadline = self._deadline(request, asked.deadline_ms)
        alone = asked.deadline_ms is not None
        features = await model.batcher.score(asked.query, asked.doc_ids, deadline=deadline, alone=alone)
        self._count(request, model, features)
        told = _head(request, model, features)
        if wants_arrow(request):
            return arrow_answer(told, features)
        return json_answer(told | {"names": features.names, "docs": scored_docs(features)})

    async def search(self, request: Request) -> Response:
        """Find the videos nearest to a query in one space; they come with their features, nearest first."""
        return await self._search(request, await self._read(request, self.types.search))

    async def search_by_address(self, request: Request) -> Response:
        """Find the videos nearest to a query, as `POST /v1/search` does."""
        given = dict(request.query_params)
        known: dict[str, Any] = {name: given[name] for name in ("k", "space", "among", "model") if name in given}
        if "q" in given:
            known["query"] = given["q"]
        try:
            asked = self.types.search.model_validate(known, strict=False)
        except ValidationError as error:
            raise validated(error) from None
        return await self._search(request, asked)

    async def explain(self, request: Request) -> Response:
        """Tell why a video has the features that it has for a query."""
        asked = await self._read(request, self.types.explain)
        model = self._named(request, asked.model, asked.query)
        explanation, shown = await self._in_time(request, lambda: _explain(model, asked.query, asked.doc_id))
        grades = self._grades_of(asked.query) or {}
        told = {
            "request_id": request.state.request_id,
            "model": model.name,
            "title": shown.title if shown else None,
            "has_cover": shown is not None and shown.cover is not None,
            "grade": grades.get(asked.doc_id),
            "texts": {modality.value: text for modality, text in shown.texts.items()} if shown else {},
        }
        return json_answer(explanation | told)

    async def features(self, request: Request) -> Response:
        """Give the models, their features with what they mean, and the bounds of requests."""
        told = catalogue(self._settings, self._models, self._grades)
        return json_answer({"request_id": request.state.request_id} | told)

    async def cover(
        self, request: Request, doc_id: str, model: Annotated[str | None, Query(description="Name of a model.")] = None
    ) -> Response:
        """Give the cover of a video as it was prepared, a small JPEG square."""
        shelf = self._models.named(model).shelf
        shown: Sequence[Shown | None] = []
        if shelf is not None:
            deadline = self._deadline(request, None)
            shown = await self._models.reading.run(lambda: shelf.look_up([doc_id]), deadline=deadline)
        cover = shown[0].cover if shown and shown[0] else None
        if cover is None:
            raise ProblemError("not-found", "there is no cover of this video")
        return revalidated(request, cover, "image/jpeg")

    async def _search(self, request: Request, asked: SearchRequest) -> Response:
        model = self._named(request, asked.model, asked.query)
        deadline = self._deadline(request, None)
        grades = self._grades_of(asked.query)
        among = None if asked.among == "all" else list(grades or ())
        scorer, space, features, shown = await self._in_time(request, lambda: _find(model, asked, among, deadline))
        self._count(request, model, features)
        docs = []
        for rank, ((doc_id, row), video) in enumerate(zip(_pairs(features), shown, strict=True), 1):
            doc = {"rank": rank, "doc_id": doc_id, "values": row, "title": video.title if video else None}
            doc["has_cover"] = video is not None and video.cover is not None
            docs.append(doc | {"grade": grades.get(doc_id) if grades else None})
        told = _head(request, model, features) | {"space": space, "names": features.names, "docs": docs}
        told |= {"judged": grades is not None, "max_grade": self._grades.max_grade if self._grades else None}
        took_ms = (time.monotonic() - request.state.arrived) * 1e3
        return json_answer(told | {"num_docs": scorer.index.num_docs, "took_ms": round(took_ms, 2)})

    async def _read(self, request: Request, kind: type[R]) -> R:
        bounds = self._settings
        return await read_body(request, kind, max_bytes=bounds.max_body_bytes, timeout_s=bounds.body_timeout_s)

    def _named(self, request: Request, name: str | None, query: str) -> Model:
        model = self._models.named(name)
        request.state.told |= {"model": model.name, "query_chars": len(query)}
        if self._settings.log_queries:
            request.state.told["query"] = query
        return model

    def _deadline(self, request: Request, own_ms: float | None) -> float:
        limit_ms = self._settings.deadline_ms if own_ms is None else own_ms
        return float(request.state.arrived + limit_ms / 1e3)

    async def _in_time(self, request: Request, work: Callable[[], T]) -> T:
        return await self._models.searching.run(work, deadline=self._deadline(request, None))

    def _grades_of(self, query: str) -> dict[str, int] | None:
        return self._grades.of(query) if self._grades else None

    def _count(self, request: Request, model: Model, features: RankFeatures) -> None:
        unscored = int(features.missing.all(axis=1).sum())
        told = {"generation": features.generation, "candidates": len(features.doc_ids), "unscored": unscored}
        request.state.told |= told | {"late": features.late}
        self._metrics.candidates.labels(model.name).observe(len(features.doc_ids))
        self._metrics.late.labels(model.name).inc(features.late)
        self._metrics.unscored.labels(model.name).inc(unscored)


def _find(
    model: Model, asked: SearchRequest, among: list[str] | None, deadline: float
) -> tuple[FeatureScorer, str, RankFeatures, Sequence[Shown | None]]:
    scorer = model.scorer
    space = asked.space or default_space(scorer)
    if space not in scorer.spaces:
        raise ProblemError("not-found", f"there is no such space; there are: {', '.join(scorer.spaces)}")
    if among is not None:
        left = max(deadline - time.monotonic(), 0)
        found = nearest_among(scorer, asked.query, among, space, asked.k, deadline_s=left)
    elif model.searcher is None:
        raise ProblemError("not-found", f"the model '{model.name}' is not searched, only scored")
    else:
        found = model.searcher.find(scorer, asked.query, space, asked.k)
    features = scorer.score(asked.query, found, deadline_s=max(deadline - time.monotonic(), 0))
    shown = model.shelf.look_up(found) if model.shelf else [None] * len(found)
    return scorer, space, features, shown


def _explain(model: Model, query: str, doc_id: str) -> tuple[dict[str, Any], Shown | None]:
    shown = model.shelf.look_up([doc_id])[0] if model.shelf else None
    return model.scorer.explain(query, doc_id).to_dict(), shown


def _pairs(features: RankFeatures) -> zip[tuple[str, Any]]:
    return zip(features.doc_ids, rows_of(features), strict=True)


def _head(request: Request, model: Model, features: RankFeatures) -> dict[str, Any]:
    told = {"request_id": request.state.request_id, "model": model.name, "generation": features.generation}
    return told | {"late": features.late}
