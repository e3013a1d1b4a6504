"""HTTP/1.1 read by httptools, within bounds that uvicorn sets with h11 alone.

httptools keeps an unfinished name or value however long it grows, and tells nothing of bytes that are no body. So the
bytes of a connection are counted as they are fed: those that bring a message no further have a limit.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.service.gate import answer_of
from serving.service.problems import ProblemError
from serving.service.settings import ServeSettings
from serving.service.untaken import Untaken

_OVERHEAD_OF_A_BYTE = 16  # of a body in chunks of one byte, which take 6
_MAX_WAITING = 32
_access = logging.getLogger("serving.service.access")


class BoundedHttp(HttpToolsProtocol):
    """A connection: its requests are bounded before the application sees them; each refusal is a problem (RFC 9457).

    - A head, with the blank lines before it, has `head_bytes`; one that comes as a later request of one read has up to
      twice that. A body's chunk sizes, extensions and trailers have as much, and 16 bytes for each byte of body.
    - A head has `message_s` from its first byte, and so has the rest of a body whose request is answered; a connection
      where nothing comes is closed after `idle_s`, and one whose client takes nothing of an answer after `message_s`.
    - `max_waiting` requests wait behind the one that is answered.
    - Refused are what RFC 9112 wants refused and httptools lets through: none or several `Host`, another
      `Transfer-Encoding` than `chunked`, other versions than 1.0 and 1.1. Trailers are dropped: they are no headers.
    - A wish to upgrade (h2c, WebSocket) is not heard, and the body of such a request is read as any other.

    What was asked before a refusal is answered first; the connection is closed after it, and what follows is not read.
    """

    head_bytes = 1 << 16
    max_waiting = _MAX_WAITING
    message_s = 10.0
    idle_s = 75.0
    logs = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, and wait for a request."""
        super().connection_made(transport)
        self._in_head, self._begun, self._upgrades = True, False, False
        self._turns = 0  # heads and messages that were complete
        self._overhead = self._body = 0  # bytes since the last turn that brought nothing; bytes of this body
        self._problem: ProblemError | None = None
        self._last_words: bytes | None = None
        self._awaited: tuple[int, bool] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._untaken = Untaken(transport, self.loop, self.message_s)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._untaken.stop()
        if self._deadline is not None:
            self._deadline.cancel()

    def pause_writing(self) -> None:
        """Write no more for now."""
        super().pause_writing()
        self._untaken.watch()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._unset_keepalive_if_required()
        while data and self._last_words is None:
            room = self.head_bytes - (self._overhead if self._in_head else 0)
            data = data[self._feed(data[:room]) :]
        self._watch()

    def _feed(self, part: bytes) -> int:
        """Parse bytes, and give how many were."""
        turns, body = self._turns, self._body
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_upgrade()
            return int(upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(self._problem or _malformed("this is no request of HTTP/1.1"))
            return len(part)
        self._overhead = self._overhead + len(part) - (self._body - body) if self._turns == turns else 0
        if self._overhead >= self.head_bytes + _OVERHEAD_OF_A_BYTE * self._body:
            if self._in_head:
                detail = f"the head of the request is longer than {self.head_bytes:,} bytes"
            else:
                detail = "chunk sizes, extensions and trailers are far longer than the body"
            self._refuse(ProblemError("head-too-large", detail))
        return len(part)

    def _read_without_upgrade(self) -> None:
        """Read the head once more without the wish: httptools takes no body where a message wants to upgrade."""
        start = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([start, *lines, b"", b""]))

    def on_message_begin(self) -> None:
        """Begin a message."""
        super().on_message_begin()
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the application answer, or refuse."""
        self._turns += 1
        self._problem = self._problem_of_head()
        if self._problem is not None:
            raise self._problem
        self._upgrades = self.parser.should_upgrade()
        if not self._upgrades:
            super().on_headers_complete()
            self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Hand bytes of a body to the application."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a message; one that wants to upgrade comes again."""
        if not self._upgrades:
            super().on_message_complete()
            self._turns += 1
            self._in_head, self._begun, self._body = True, False, 0

    def on_response_complete(self) -> None:
        """Answer the next request that waits, say the last words, or wait for what comes."""
        is_last = not self.pipeline
        super().on_response_complete()
        self._untaken.watch()
        if self.transport.is_closing():
            return
        if is_last and self._last_words is not None:
            self._end()
        elif self._begun and not self._in_head and self.expect_100_continue and not self._is_answering:
            self.transport.close()  # nobody knows whether the body comes still
        elif self._begun:
            self._watch()

    def _problem_of_head(self) -> ProblemError | None:
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return _malformed("HTTP/1.1 and HTTP/1.0 are spoken here")
        if self.parser.get_method() == b"CONNECT":
            return ProblemError("method-not-allowed", "this is no proxy")
        num_hosts = 0
        for name, value in self.headers:
            if name == b"host":
                num_hosts += 1
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                return _malformed("no `Transfer-Encoding` but `chunked` is known here")
        if num_hosts != 1 and (num_hosts or version == "1.1"):
            return _malformed("send one `Host` header")
        if len(self.pipeline) >= self.max_waiting:
            return ProblemError("overloaded", f"{self.max_waiting} requests of this connection wait already")
        return None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, problem: ProblemError) -> None:
        """End the connection, after the answers to what was asked before; the application is told of a broken body."""
        self._last_words = self._spoken(problem)
        if not self._in_head:  # the body is one of the newest request
            if self.cycle.response_started:
                self._last_words = b""
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
                return
        elif self._is_answering:
            return
        self._end()

    def _end(self) -> None:
        if self._last_words:
            self.transport.write(self._last_words)
        self.transport.close()
        self._untaken.watch()

    def _spoken(self, problem: ProblemError) -> bytes:
        request_id = secrets.token_hex(8)
        if self.logs:
            fields = {"request_id": request_id, "status": problem.status, "code": problem.code}
            _access.info("refused %d", problem.status, extra={"fields": fields})
        answer = answer_of(problem, request_id)
        headers = [
            *self.server_state.default_headers,
            *answer.raw_headers,
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        start = f"HTTP/1.1 {problem.status} {problem.body(request_id).title}".encode()
        return b"\r\n".join([start, *(b"%b: %b" % header for header in headers), b"", bytes(answer.body)])

    def _watch(self) -> None:
        """Limit the time of what the client owes, if anything; what is under way already gets no more."""
        awaited = None
        if self._last_words is None and not self._is_answering:
            awaited = self._turns, self._begun or self._overhead > 0
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if awaited is not None:
            seconds = self.message_s if awaited[1] else self.idle_s
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._in_head and (self._begun or self._overhead) and not self.transport.is_closing():
            self._refuse(ProblemError("too-slow", f"the head of the request was not there within {self.message_s:g} s"))
        else:
            self.transport.close()


def _malformed(detail: str) -> ProblemError:
    return ProblemError("malformed", detail)


def bounded(settings: ServeSettings, max_head_bytes: int) -> type[BoundedHttp]:
    """Give the protocol with these bounds, for `http=` of uvicorn."""

    class Bounded(BoundedHttp):
        head_bytes = max_head_bytes
        message_s, idle_s, logs = settings.body_timeout_s, settings.keep_alive_s, settings.access_log

    return Bounded
