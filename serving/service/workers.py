"""Several processes that serve at one address, and the one that looks after them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from mmsearch import logs
from serving.service.metrics import SHARED_FOLDER
from serving.service.server import bind, serve, told_if_taken
from serving.service.settings import ServeSettings

_SILENT_S = 60.0
_STEADY_S = 10.0
_MAX_PAUSE_S = 30.0

_log = logging.getLogger(__name__)


class Worker:
    """A process that serves, and what is heard of it."""

    def __init__(self, process: ForkServerProcess, line: Connection) -> None:
        self.process, self.line = process, line
        self.started = self.heard = time.monotonic()
        self.ready = False

    def listen(self) -> None:
        """Take what it said."""
        with suppress(EOFError, OSError):
            while self.line.poll():
                self.line.recv_bytes(8)
                self.heard, self.ready = time.monotonic(), True

    @property
    def hangs(self) -> bool:
        """Whether it served once and has not been heard of for a minute."""
        return self.ready and time.monotonic() - self.heard > _SILENT_S


class Workers:
    """Keeps the processes of a service running.

    They are forked from a server process that has imported everything and nothing else, so that they share that memory;
    each opens the models itself, and the pages of the indexes are shared as well. Each has a listening socket of its
    own at the same address, and the kernel deals connections out. One that dies is replaced (after a pause that doubles
    while they die young), one that hangs is killed first. If this process dies, they drain and end.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._workers: list[Worker] = []
        self._stopping = False
        self._early = 0

    def run(self) -> int:
        """Serve until SIGTERM; give the exit status: 0, or that of a worker that could not begin to serve.

        Raises:
            ConfigError: the address cannot be had, or another service listens there.
        """
        told_if_taken(self._settings)
        previous = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            with (
                tempfile.TemporaryDirectory(prefix="mmsearch-metrics-") as folder,
                bind(self._settings, shared=True) as held,
            ):
                os.environ[SHARED_FOLDER] = folder
                # the port stays taken while all of them are gone; a socket that does not listen gets no connection
                port = held.getsockname()[1]
                self._settings = self._settings.model_copy(update={"port": port})
                try:
                    self._workers = [self._start() for _ in range(self._settings.num_workers)]
                    status = self._watch()
                finally:
                    self._end()
                    del os.environ[SHARED_FOLDER]
            return status
        finally:
            for sig, handler in previous.items():
                signal.signal(sig, handler)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start(self) -> Worker:
        here, there = self._context.Pipe()
        verbose = logging.getLogger("serving").level <= logging.DEBUG
        process = self._context.Process(target=_work, args=(self._settings, there, verbose), daemon=False)
        process.start()
        there.close()
        return Worker(process, here)

    def _watch(self) -> int:
        while not self._stopping:
            wait([worker.process.sentinel for worker in self._workers], timeout=0.2)
            for number, worker in enumerate(self._workers):
                worker.listen()
                if worker.hangs:
                    _log.error("worker %d hangs, and is killed", worker.process.pid)
                    worker.process.kill()
                    worker.process.join()
                status = worker.process.exitcode
                if status is None or self._stopping:
                    continue
                if not worker.ready and not self._early:
                    _log.error("a worker ended with status %d before it served", status)
                    return abs(status) or 1
                self._workers[number] = self._replace(worker, status)
        return 0

    def _replace(self, worker: Worker, status: int) -> Worker:
        _forget(worker)
        young = time.monotonic() - worker.started < _STEADY_S
        self._early = self._early + 1 if young else 1
        pause = min(2.0 ** (self._early - 1) - 1, _MAX_PAUSE_S)
        _log.error("worker %d ended with status %d; another begins in %g s", worker.process.pid, status, pause)
        until = time.monotonic() + pause
        while time.monotonic() < until and not self._stopping:
            time.sleep(0.1)
        return self._start()

    def _end(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        until = time.monotonic() + self._settings.drain_s + self._settings.grace_s + 5
        for worker in self._workers:
            worker.process.join(max(until - time.monotonic(), 0))
            if worker.process.is_alive():
                _log.error("worker %d does not end, and is killed", worker.process.pid)
                worker.process.kill()
                worker.process.join()


def _forget(worker: Worker) -> None:
    """Leave the state of a dead worker out of the metrics; its counts stay."""
    from prometheus_client import multiprocess

    if worker.process.pid is not None:
        multiprocess.mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]
    worker.line.close()


def _work(settings: ServeSettings, line: Connection, verbose: bool) -> None:
    """Be a worker."""
    logs.set_up(verbose=verbose)
    threading.Thread(target=_end_with_supervisor, args=(line,), name="lifeline", daemon=True).start()

    def be_heard() -> None:
        with suppress(OSError):
            line.send_bytes(b"serving")

    def door() -> None:
        taken: socket.socket
        with bind(settings, shared=True) as taken:
            serve(settings, taken, heed_interrupt=False, each_second=be_heard)

    logs.exit_on_error(door, debug=verbose)


def _end_with_supervisor(line: Connection) -> None:
    """Drain when the other end of the line is gone: nothing is ever sent to here."""
    with suppress(OSError):
        line.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)
