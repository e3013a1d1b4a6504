"""What every request goes through: an id, the host's name, the key, headers of safety, one line of log, counts."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.service.keys import ApiKeys
from serving.service.metrics import Metrics
from serving.service.problems import ProblemError, unexpected
from serving.service.settings import ServeSettings

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_SAFETY = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_log = logging.getLogger("serving.service.access")


class Gate:
    """The outermost layer of the service, over any ASGI application.

    A request keeps its `X-Request-ID` where that is 1 to 64 letters, digits, `.`, `_` or `-`, and gets one otherwise;
    answer, log line and problems name it. What a handler puts into `request.state.told` stands in the log line.

    Args:
        app: what answers.
        settings: who may ask, and what is logged.
        metrics: counts.
        keys: None = nobody needs one.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics, keys: ApiKeys | None) -> None:
        self._app, self._settings, self._metrics, self._keys = app, settings, metrics, keys
        hosts = settings.allowed_hosts
        if hosts is None and settings.is_loopback:
            hosts = _LOOPBACK_NAMES
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        #: From SIGTERM on: answers ask clients to let their connections go.
        self.draining = False
        #: Whether more connections are open than should be; the server knows.
        self.is_crowded: Callable[[], bool] = lambda: False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = dict(reversed(scope["headers"]))
        request_id = _request_id(headers)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        told: dict[str, Any] = {}
        state.update(request_id=request_id, told=told, arrived=time.monotonic())
        status = 500
        began = False

        async def tell(message: Message) -> None:
            nonlocal status, began
            if message["type"] == "http.response.start":
                began, status = True, message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_SAFETY]
                if self.draining:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            problem = self._refusal(scope, headers, told)
            answer = self._app if problem is None else answer_of(problem, request_id)
            await answer(scope, receive, tell)
        except Exception:
            _log.exception("request %s failed", request_id)
            if not began:
                await answer_of(unexpected(), request_id)(scope, receive, tell)
        finally:
            self._count(scope, status, time.perf_counter() - start, told, request_id)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes], told: dict[str, Any]) -> ProblemError | None:
        if self._hosts is not None and _host(headers) not in self._hosts:
            return ProblemError("wrong-host", "this name is not served here; see `allowed_hosts`")
        path: str = scope["path"]
        if self.is_crowded() and path != "/healthz":
            close = {"Connection": "close"}
            return ProblemError("not-ready", "too many connections are open; try again later", headers=close)
        if not (path.startswith("/v1/") or path == "/metrics"):
            return None
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            return ProblemError("cross-site", "pages of other origins may not ask")
        if self._keys is None:
            return None
        scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        name = self._keys.name_of(key.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            told_how = "give an API key: `Authorization: Bearer KEY`"
            return ProblemError("unauthorised", told_how, headers={"WWW-Authenticate": "Bearer"})
        told["client"] = name
        return None

    def _count(self, scope: Scope, status: int, seconds: float, told: dict[str, Any], request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._settings.access_log and route not in ("/healthz", "/readyz", "/metrics"):
            line = {"request_id": request_id, "route": route, "method": method, "status": status}
            fields = line | {"ms": round(seconds * 1e3, 2)} | told
            _log.info("%s %s %d", method, route, status, extra={"fields": fields})


def answer_of(problem: ProblemError, request_id: str) -> Response:
    """Give the answer that tells a problem."""
    body = problem.body(request_id).model_dump_json(exclude_defaults=True)
    return Response(body, problem.status, problem.headers, media_type="application/problem+json")


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _host(headers: dict[bytes, bytes]) -> str:
    """Give the name in the `Host` header, without the port, in small letters."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return re.sub(r":\d*$", "", host)
