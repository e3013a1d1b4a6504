"""A service in processes of its own, over a tiny index."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
TINY = CHECKOUT / "tests" / "unit" / "serving" / "service" / "conftest.py"


class Service:
    """A started service; what it logs lies in a file."""

    def __init__(self, log: Path, index: Path, settings: tuple[str, ...]) -> None:
        self.log = log
        given = [f"models.tiny.index={index}", "port=0", "check_every_s=0.1", "deadline_ms=60000", *settings]
        command = [sys.executable, "-m", "serving", "serve", *given]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stderr=out, cwd=CHECKOUT, start_new_session=True)
        self.port = 0

    def wait(self, workers: int = 1, seconds: float = 90) -> int:
        """Wait until so many processes listen; give the port."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ports = {line["message"].rpartition(":")[2] for line in self.lines("listening at")}
            if len(self.lines("listening at")) >= workers:
                (port,) = ports
                self.port = int(port)
                return self.port
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the service does not listen: {self.log.read_text()}")

    def lines(self, message: str) -> list[dict]:
        """Give the log lines whose message begins so."""
        text = self.log.read_text().splitlines() if self.log.exists() else []
        told = [json.loads(line) for line in text if line.startswith("{") and line.endswith("}")]
        return [line for line in told if line["message"].startswith(message)]

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: object = None, connection: http.client.HTTPConnection | None = None):
        """Give status, headers and JSON (or text) of an answer."""
        asked = connection or self.connect()
        data = None if body is None else json.dumps(body)
        asked.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = asked.getresponse()
        text = answer.read()
        if connection is None:
            asked.close()
        told = json.loads(text) if "json" in answer.headers.get("content-type", "") else text.decode()
        return answer.status, answer.headers, told

    def end(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal and give the status that it ends with."""
        self.process.send_signal(sig)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def tiny():
    """The helpers of the unit tests: `publish` and `write_tower`."""
    spec = importlib.util.spec_from_file_location("tiny_service", TINY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tiny, tmp_path):
    """An index of one's own, and how to publish into it: `index.publish(seed)`."""
    tower = tmp_path / "tower"
    tower.mkdir()
    tiny.write_tower(tower)

    class Index:
        folder = tmp_path / "index"

        def publish(self, seed):
            return tiny.publish(self.folder, tower, seed)

    made = Index()
    made.publish(0)
    return made


@pytest.fixture
def start(tmp_path, index):
    """Start a service: `start("num_workers=2")`; whatever a test does, no process of it is left."""
    started = []

    def begin(*settings: str) -> Service:
        service = Service(tmp_path / f"log{len(started)}", index.folder, settings)
        started.append(service)
        return service

    yield begin
    for service in started:
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)  # its workers are in its session
        service.process.wait()
