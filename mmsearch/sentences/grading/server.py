"""Serve the page on this machine alone, and take grades from it."""

from __future__ import annotations

import json
import logging
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mmsearch.sentences.grading.grades import GradeFile
from mmsearch.sentences.grading.page import content_policy

HOST = "127.0.0.1"
_MOST_BYTES = 4096
_TIMEOUT_S = 20
_log = logging.getLogger(__name__)


class GradingServer(ThreadingHTTPServer):
    """A server of one page on the loopback address.

    Whoever does not know the key gets nothing: it is a part of every path. A page of another site that found it would
    be refused all the same, by the names that it calls this server (DNS rebinding) and itself by (`Origin`), and by
    the type of what it may send without asking.

    Args:
        page: the page, as `render` gives it.
        grades: where grades go.
        key: part of the page's address; the same one lets an open page go on after the server was started again.
        port: 0 = a free one.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True
    timeout = 0.1  # seconds until `serve` looks whether it is finished

    def __init__(self, page: str, grades: GradeFile, key: str, port: int = 0) -> None:
        self.page, self.grades, self.key = page.encode(), grades, key
        self.is_finished = False
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Give the address of the page."""
        return f"http://{HOST}:{self.server_address[1]}/{self.key}/"

    def serve(self) -> None:
        """Serve until the page says that it is finished, or Ctrl-C."""
        try:
            while not self.is_finished:
                self.handle_request()
        except KeyboardInterrupt:
            _log.info("stopped; every grade is saved, the same command goes on")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection; a browser that leaves is nothing to show a traceback for."""
        _log.debug("the connection %s of %s ended with an error", request, client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    server: GradingServer
    timeout = _TIMEOUT_S
    server_version, sys_version = "mmsearch", ""

    def do_GET(self) -> None:
        """Give the page, or the grades so far."""
        match self._wanted():
            case "":
                self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
            case "grades":
                places = self.server.grades.grades.copy().items()
                rows = [{"doc_id": doc_id, "side": side, "grade": grade} for (doc_id, side), grade in places]
                self._answer(HTTPStatus.OK, json.dumps(rows).encode(), "application/json")
            case _:
                self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Keep a grade, or finish."""
        what, value = self._wanted(), self._read()
        if what not in ("grades", "finish"):
            self._answer(HTTPStatus.NOT_FOUND)
        elif not isinstance(value, dict):
            self._answer(HTTPStatus.BAD_REQUEST)
        elif what == "finish":
            self._answer(HTTPStatus.NO_CONTENT)
            self.server.is_finished = True
        else:
            self._answer(self._keep(value))

    def _keep(self, value: dict[str, Any]) -> HTTPStatus:
        try:
            self.server.grades.save(value)
        except ValueError:
            return HTTPStatus.CONFLICT
        except OSError as error:
            _log.error("a grade could not be saved: %s", error)
            return HTTPStatus.INSUFFICIENT_STORAGE
        return HTTPStatus.NO_CONTENT

    def _wanted(self) -> str | None:
        """Give what stands behind the key in the path; None for requests that nobody has to answer."""
        port = self.server.server_address[1]
        names = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        is_ours = self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names)
        key, slash, what = self.path.removeprefix("/").partition("/")
        is_known = secrets.compare_digest(key.encode(), self.server.key.encode())
        return what if is_ours and is_known and slash else None

    def _read(self) -> Any:
        """Read a small JSON body; None where it is none."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdecimal() or len(length) > 6:
            return None
        if int(length) > _MOST_BYTES:
            return None
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Security-Policy": content_policy() + "; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests for debugging only."""
        _log.debug(format, *args)
