"""One connection to a model's server, whose waiting ends in time, or when another thread says so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmsearch.sentences.models.protocol import ModelRefusedError, ModelUnavailableError
from mmsearch.sentences.models.retry import TryAgainError

_MAX_ANSWER_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server sent: status, `Retry-After` where it stands there, and the content."""

    status: int
    retry_after: str | None
    content: bytes


class Connection:
    """A kept-alive connection; one request at a time.

    httpx bounds each read, not a whole answer: a header a second would keep it busy for good, and no call of it ends a
    read from outside. So the socket is kept beside it, to be shut down by a timer or by `close`; a read that waits then
    ends at once, whatever it waits for.

    Args:
        httpx: the library.
        headers: of every request.
        timeout_s: for a whole answer, from the request on.
        verify: context of TLS; contexts are slow to make, and can be shared.
    """

    def __init__(self, httpx: Any, headers: Mapping[str, str], timeout_s: float, verify: Any) -> None:
        self._failed: type[Exception] = httpx.HTTPError
        self._timeout_s = timeout_s
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        self._client = httpx.Client(
            headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=False, verify=verify, limits=limits
        )
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._late = self._closed = self._busy = False

    def post(self, url: str, data: bytes) -> Reply:
        """Send JSON and read the whole answer.

        Raises:
            TryAgainError: no answer, or none in time.
            ModelRefusedError: the answer is too long.
            ModelUnavailableError: the connection was closed.
        """
        with self._lock:
            self._late, self._busy = False, True
        timer = threading.Timer(self._timeout_s, self._cut_off)
        timer.daemon = True
        timer.start()
        try:
            if self._closed:
                raise OSError("closed")
            reply = self._post(url, data)
            if self._closed or self._late:  # an answer without a length looks whole where it was cut off
                raise OSError("cut off")
            return reply
        except (self._failed, OSError) as error:
            if self._closed:
                raise ModelUnavailableError(f"{url}: the connection was closed here") from error
            if self._late or "Timeout" in type(error).__name__:
                raise TryAgainError(f"{url}: no whole answer within {self._timeout_s:g} s") from error
            raise TryAgainError(f"{url}: {type(error).__name__}: {error}") from error
        finally:
            timer.cancel()
            with self._lock:
                self._busy = False
            if self._closed:
                self._let_go()

    def close(self) -> None:
        """Cut off what is under way, and close; from any thread."""
        with self._lock:
            self._closed, busy = True, self._busy
        self._shut_down()
        if not busy:  # else the thread that waits for the answer does it
            self._let_go()

    def _post(self, url: str, data: bytes) -> Reply:
        received = bytearray()
        headers, extensions = {"Content-Type": "application/json"}, {"trace": self._trace}
        with self._client.stream("POST", url, content=data, headers=headers, extensions=extensions) as response:
            for chunk in response.iter_bytes():
                received += chunk
                if len(received) > _MAX_ANSWER_BYTES:
                    raise ModelRefusedError(f"{url}: the answer is longer than {_MAX_ANSWER_BYTES} bytes")
            return Reply(response.status_code, response.headers.get("retry-after"), bytes(received))

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep a duplicate of each socket that is opened: TLS takes the first one over."""
        if event == "connection.connect_tcp.complete":
            with self._lock:
                if self._socket is not None:
                    self._socket.close()
                self._socket = info["return_value"].get_extra_info("socket").dup()
            if self._late or self._closed:
                self._shut_down()

    def _cut_off(self) -> None:
        self._late = True
        self._shut_down()

    def _shut_down(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        self._client.close()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
