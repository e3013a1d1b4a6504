"""One process that serves: uvicorn over the application, which drains before it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Literal

import uvicorn

from mmsearch.errors import ConfigError
from serving.service.app import Service, build
from serving.service.metrics import Metrics
from serving.service.models import Models
from serving.service.settings import ServeSettings

#: Bytes of a request's head.
MAX_HEAD_BYTES = 1 << 16
_TICKS_A_SECOND = 10
_log = logging.getLogger(__name__)


class ScoringServer(uvicorn.Server):
    """A uvicorn server that ends in three steps, with status 0.

    On SIGTERM (or Ctrl-C) `/readyz` says 503 and answers close their connections, for `drain_s`; then no connection is
    accepted, and requests under way are finished within `grace_s`. A second signal skips the first step.

    Args:
        config: of uvicorn.
        service: the application.
        drain_s: how long requests are still taken.
        heed_interrupt: whether Ctrl-C counts; a worker leaves it to its supervisor.
        each_second: called once a second while it serves.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        drain_s: float,
        *,
        heed_interrupt: bool = True,
        each_second: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._service, self._drain_s = service, drain_s
        self._heed_interrupt, self._each_second = heed_interrupt, each_second
        self._exit_at: float | None = None

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Begin to drain; a second signal ends that."""
        if sig == signal.SIGINT and not self._heed_interrupt:
            return
        self._service.drain()
        now = time.monotonic()
        self._exit_at = now + self._drain_s if self._exit_at is None else now

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        for taken in sockets or []:
            _log.info("listening at %s", address_of(taken))

    async def on_tick(self, counter: int) -> bool:
        """Look at the clock, ten times a second."""
        if self._exit_at is not None and time.monotonic() >= self._exit_at:
            self.should_exit = True
        if counter % _TICKS_A_SECOND == 0:
            self._service.ops.observe()
            self._each_second()
        return await super().on_tick(counter)


def bind(settings: ServeSettings, *, shared: bool = False) -> socket.socket:
    """Take the address; nothing is accepted before the server listens.

    A shared address is taken beside whoever shares it already: call `told_if_taken` first.

    Args:
        settings: host and port.
        shared: other processes of this user may take it as well (`SO_REUSEPORT`); the kernel deals connections out.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise ConfigError(f"{where}: cannot be listened at: {error.strerror}; choose another host or port") from error
    return taken


def told_if_taken(settings: ServeSettings) -> None:
    """Take the address for a moment, alone, so that another service that listens there is not joined unnoticed.

    Raises:
        ConfigError: it cannot be had.
    """
    if settings.port:  # port 0 is one that nobody has
        bind(settings).close()


def address_of(taken: socket.socket) -> str:
    """Give the URL of a bound socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def protocol_of(settings: ServeSettings) -> type[asyncio.Protocol] | Literal["h11"]:
    """Give what reads HTTP: httptools within bounds where it is installed, else h11, which uvicorn bounds itself."""
    try:
        from serving.service.http_protocol import bounded
    except ImportError:
        return "h11"
    return bounded(settings, MAX_HEAD_BYTES)


def serve(
    settings: ServeSettings,
    taken: socket.socket,
    *,
    heed_interrupt: bool = True,
    each_second: Callable[[], None] = lambda: None,
) -> None:
    """Open the models and answer requests until SIGTERM.

    Raises:
        MmsearchError: a model, the judgments or the API keys cannot be opened.
    """
    logging.getLogger("uvicorn").handlers = logging.getLogger("serving").handlers
    metrics = Metrics()
    with Models(settings, metrics) as models:
        service = build(settings, models, metrics)
        config = uvicorn.Config(
            service.gate,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            http=protocol_of(settings),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            lifespan="off",
            ws="none",
            timeout_keep_alive=int(settings.keep_alive_s),
            timeout_graceful_shutdown=int(settings.grace_s),
        )
        server = ScoringServer(
            config, service, settings.drain_s, heed_interrupt=heed_interrupt, each_second=each_second
        )
        open_now = server.server_state.connections
        service.gate.is_crowded = lambda: len(open_now) > settings.max_connections
        gc.collect()
        gc.freeze()  # what stays for good is not looked through again and again
        server.run(sockets=[taken])
    _log.info("ended")
