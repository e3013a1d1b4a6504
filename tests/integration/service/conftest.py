"""A service in processes of its own, over a tiny index."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.service.server import MAX_HEAD_BYTES, protocol_of
from serving.service.settings import ServeSettings

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


HTTP_SETTINGS = ServeSettings(models={"tiny": {"index": "nowhere"}}, body_timeout_s=30, keep_alive_s=30, port=0)
HASTY = HTTP_SETTINGS.model_copy(update={"body_timeout_s": 0.4, "keep_alive_s": 0.8})


class Wire:
    """A client that says bytes, and nothing of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def answers(self, *parts, pause=0.03):
        """Say parts, one after the other, and give all answers (status, head, body) until the end of the connection."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as client:
            said = b""
            try:
                for number, part in enumerate(parts):
                    if number:
                        time.sleep(pause)
                    client.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was refused before it ended
            try:
                while part := client.recv(1 << 16):
                    said += part
            except ConnectionResetError:
                pass  # closed while more was on its way; what it said came before
        found = []
        while said:
            head, _, rest = said.partition(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            status = int(lines[0].split()[1])
            length = int(headers.get("content-length", len(rest) if status >= 200 else 0))
            found.append((status, headers, rest[:length]))
            said = rest[length:]
        return found

    def statuses(self, *parts, **options):
        return [status for status, _, _ in self.answers(*parts, **options)]

    def asked(self, *parts):
        """Give method, path and body of each request as the application saw it."""
        told = self.answers(*parts)
        assert {status for status, _, _ in told} == {200}
        return [tuple(json.loads(body)[:3]) for _, _, body in told]

    def problem(self, *parts):
        """Give status and code of the one answer, which is a problem and the last."""
        ((status, headers, body),) = self.answers(*parts)
        told = json.loads(body)
        assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")
        assert (told["status"], told["request_id"]) == (status, headers["x-request-id"])
        return status, told["code"]


async def echo(scope, receive, send):
    """Answer with what was asked; `/deaf` is answered without its body, `/slow` after a while."""
    body, more = b"", scope["path"] != "/deaf"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    names = [name.decode() for name, _ in scope["headers"]]
    told = json.dumps([scope["method"], scope["path"], body.decode("latin-1"), names]).encode()
    headers = [(b"content-length", b"%d" % len(told)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@contextmanager
def serving(http):
    """Serve `echo` in a thread; give a client."""
    options = {"log_config": None, "lifespan": "off", "ws": "none", "access_log": False, "timeout_keep_alive": 30}
    server = uvicorn.Server(uvicorn.Config(echo, http=http, h11_max_incomplete_event_size=MAX_HEAD_BYTES, **options))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            yield Wire(taken.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def wire():
    """A server with httptools within bounds."""
    protocol = protocol_of(HTTP_SETTINGS)
    assert issubclass(protocol, HttpToolsProtocol)
    with serving(protocol) as client:
        yield client


@pytest.fixture(scope="module")
def hasty():
    """The same, which does not wait for long."""
    with serving(protocol_of(HASTY)) as client:
        yield client


@pytest.fixture
def start_wire():
    """Serve with other settings: `start_wire(body_timeout_s=2)`."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(serving(protocol_of(HTTP_SETTINGS.model_copy(update=changes))))


@pytest.fixture(scope="module")
def wire_of_h11():
    """A server as it is where httptools is absent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "httptools", None)
        for name in ("serving.service.http_protocol", "uvicorn.protocols.http.httptools_impl"):
            patch.delitem(sys.modules, name, raising=False)
        protocol = protocol_of(HTTP_SETTINGS)
    assert protocol == "h11"
    with serving(protocol) as client:
        yield client


@pytest.fixture(params=["wire", "wire_of_h11"])
def either(request):
    """Both."""
    return request.getfixturevalue(request.param)
