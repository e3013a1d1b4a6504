"""Errors of the service: one JSON shape, RFC 9457 (`application/problem+json`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

#: The status of every code that a problem has.
STATUS = {
    "invalid-json": 400,
    "malformed": 400,
    "unauthorised": 401,
    "cross-site": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "too-slow": 408,
    "too-large": 413,
    "unsupported-media-type": 415,
    "wrong-host": 421,
    "invalid-request": 422,
    "overloaded": 429,
    "deadline": 429,
    "head-too-large": 431,
    "internal": 500,
    "not-ready": 503,
}
_RETRY_AFTER_S = {"overloaded": "1", "deadline": "1", "not-ready": "5"}


class FieldError(BaseModel):
    """A part of a request that cannot be used."""

    where: str
    message: str


class ProblemBody(BaseModel):
    """What went wrong, and what to do."""

    model_config = ConfigDict(title="Problem")
    type: str
    code: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] = []


class ProblemError(Exception):
    """A request that is answered with an error.

    Args:
        code: one of `STATUS`.
        detail: what happened, and what to do.
        errors: parts of the request that cannot be used, with what is wrong with each.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.errors = code, detail, tuple(errors)
        self.status = STATUS[code]
        self.headers = dict(headers or {})
        if code in _RETRY_AFTER_S:
            self.headers.setdefault("Retry-After", _RETRY_AFTER_S[code])

    def body(self, request_id: str) -> ProblemBody:
        """Give the body of the answer."""
        return ProblemBody(
            type=f"urn:mmsearch:problem:{self.code}",
            code=self.code,
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=[FieldError(where=where, message=message) for where, message in self.errors],
        )


def unexpected() -> ProblemError:
    """Give the problem of an error that nobody foresaw; what it was is for the log."""
    return ProblemError("internal", "an error inside the service; its log has this request")


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """Give the problem of a request that does not fit its schema; what was sent is not said again."""
    if any(error["type"] == "json_invalid" for error in errors):
        return ProblemError("invalid-json", f"the body is no JSON: {errors[0]['msg']}")
    told = [_told(error) for error in errors[:20]]
    return ProblemError("invalid-request", "; ".join(f"{where}: {message}" for where, message in told[:3]), errors=told)


def _told(error: Mapping[str, Any]) -> tuple[str, str]:
    if error["type"] == "extra_forbidden":  # its name is what was sent, too
        return ".".join(map(str, error["loc"][:-1])) or "body", "holds a field that is not known; see /openapi.json"
    return ".".join(map(str, error["loc"])) or "body", str(error["msg"])


def validated(error: ValidationError) -> ProblemError:
    """Give the problem of what pydantic refused."""
    return of_validation(error.errors(include_url=False, include_context=False, include_input=False))


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Give the responses of these problems for OpenAPI, and of those that any request may meet."""
    schema = {"$ref": "#/components/schemas/Problem"}
    given: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*codes, "wrong-host", "cross-site", "unauthorised", "not-ready", "internal"}):
        status = STATUS[code]
        told = f"{given[status]['description']}; {code}" if status in given else code
        given[status] = {"description": told, "content": {"application/problem+json": {"schema": schema}}}
        if code in _RETRY_AFTER_S:
            wait = {"description": "Seconds to wait.", "schema": {"type": "string"}}
            given[status]["headers"] = {"Retry-After": wait}
    return given
