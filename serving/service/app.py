"""The ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

import mmsearch
from serving.service import schemas
from serving.service.api import Api
from serving.service.arrow import ARROW
from serving.service.gate import Gate, answer_of
from serving.service.grades import Grades
from serving.service.keys import ApiKeys
from serving.service.metrics import Metrics
from serving.service.models import Models
from serving.service.ops import Ops
from serving.service.page_files import page_file
from serving.service.problems import ProblemBody, ProblemError, documented, of_validation, unexpected
from serving.service.settings import ServeSettings

_BODY = ("invalid-json", "too-slow", "too-large", "unsupported-media-type", "invalid-request")
_BUSY = ("not-found", "overloaded", "deadline")
Handler = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Service:
    """The application with what a server calls beside it."""

    gate: Gate
    ops: Ops

    def drain(self) -> None:
        """Tell balancers to send no more, and clients to let their connections go."""
        self.ops.draining = self.gate.draining = True


def build(settings: ServeSettings, models: Models, metrics: Metrics) -> Service:
    """Build the application over opened models.

    Raises:
        ConfigError: the API keys cannot be read.
        TableError: a row of the judgments cannot be used.
    """
    grades = None if settings.judgments is None else Grades.read(settings.judgments)
    keys = None if settings.api_keys_file is None else ApiKeys(settings.api_keys_file)
    app = FastAPI(
        title="mmsearch",
        version=mmsearch.__version__,
        summary="Rank features of a query and its candidates.",
        docs_url=None,  # these two load scripts of other hosts
        redoc_url=None,
    )
    _add_problems(app)
    _add_api(app, Api(settings, models, grades, metrics), needs_key=keys is not None)
    ops = Ops(models, metrics)
    _add_ops(app, ops)
    if settings.allow_page:
        _add_page(app)
    return Service(Gate(app, settings, metrics, keys), ops)


def _add_api(app: FastAPI, api: Api, *, needs_key: bool) -> None:
    def add(method: str, path: str, handler: Handler, answer: Any, codes: tuple[str, ...], asked: Any = None) -> None:
        extra: dict[str, Any] = {"security": [{"key": []}]} if needs_key else {}
        if asked is not None:
            extra |= _body_of(asked) if method == "POST" else _parameters_of(asked)
        responses: Any = {200: answer} | documented(*codes)
        app.add_api_route(
            path, handler, methods=[method], response_model=None, response_class=Response, responses=responses,
            openapi_extra=extra,
        )  # fmt: skip

    types, json = api.types, _json_of
    scored = json(schemas.ScoreAnswer) | {"content": _binary(ARROW)}
    add("POST", "/v1/score", api.score, scored, (*_BODY, *_BUSY), types.score)
    add("POST", "/v1/search", api.search, json(schemas.SearchAnswer), (*_BODY, *_BUSY), types.search)
    by_address = ("invalid-request", *_BUSY)
    add("GET", "/v1/search", api.search_by_address, json(schemas.SearchAnswer), by_address, types.search)
    add("POST", "/v1/explain", api.explain, json(schemas.ExplainAnswer), (*_BODY, *_BUSY), types.explain)
    add("GET", "/v1/features", api.features, json(schemas.FeaturesAnswer), ())
    cover = {"description": "The cover.", "content": _binary("image/jpeg")}
    add("GET", "/v1/videos/{doc_id:path}/cover", api.cover, cover, by_address)


def _add_ops(app: FastAPI, ops: Ops) -> None:
    def add(path: str, handler: Handler, answer: Any, *codes: str) -> None:
        responses: Any = {200: answer} | documented(*codes)
        app.add_api_route(path, handler, response_model=None, response_class=Response, responses=responses)

    text = {"description": "Counts.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    add("/healthz", ops.healthz, _json_of(schemas.Health))
    add("/readyz", ops.readyz, _json_of(schemas.Ready))
    add("/metrics", ops.metrics, text)


def _body_of(asked: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": asked.model_json_schema()}}}}


def _parameters_of(asked: type[BaseModel]) -> dict[str, Any]:
    """Give the fields of a request as parameters of an address, where the query is called `q`."""
    schema = asked.model_json_schema()
    parameters = []
    for name, told in schema["properties"].items():
        kinds = [kind for kind in told.pop("anyOf", []) if kind["type"] != "null"]  # null = left out
        part = {"name": "q" if name == "query" else name, "in": "query", "required": name in schema["required"]}
        parameters.append(part | {"schema": told | (kinds[0] if kinds else {})})
    return {"parameters": parameters}


def _json_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"description": (model.__doc__ or "").strip(), "model": model}


def _binary(media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string", "format": "binary"}}}


def _add_page(app: FastAPI) -> None:
    async def index(request: Request) -> Response:
        return page_file(request, "index.html")

    async def file(request: Request, name: str) -> Response:
        return page_file(request, name)

    app.add_api_route("/", index, include_in_schema=False, response_model=None)
    app.add_api_route("/page/{name}", file, include_in_schema=False, response_model=None)


def _add_problems(app: FastAPI) -> None:
    """Answer every error in one shape."""

    def tell(request: Request, problem: ProblemError) -> Response:
        return answer_of(problem, request.state.request_id)

    async def known(request: Request, error: Exception) -> Response:
        return tell(request, error if isinstance(error, ProblemError) else unexpected())

    async def refused(request: Request, error: Exception) -> Response:
        return tell(request, of_validation(error.errors() if isinstance(error, RequestValidationError) else []))

    async def unrouted(request: Request, error: Exception) -> Response:
        allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if isinstance(error, HTTPException) and error.status_code == 405:
            return tell(request, ProblemError("method-not-allowed", "see the header `Allow`", headers=allowed))
        return tell(request, ProblemError("not-found", "there is nothing at this address; see /openapi.json"))

    app.add_exception_handler(ProblemError, known)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(Exception, known)  # it goes on to the gate, which logs it
    schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs", {}) | {"Problem": schema}
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        told = plain()
        components = told.setdefault("components", {})
        components.setdefault("schemas", {}).update(parts)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return told

    app.openapi = openapi  # type: ignore[method-assign]
