"""The service over the hostile index and another model's, on a port of this machine, and the page in a browser."""

import base64
import contextlib
import http.client
import json
import os
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

ORDER = "return [...document.querySelectorAll('.list.%s .id')].map(one => one.textContent)"


class Served:
    """A service in a thread of this process: `url` of its page, `ask` for its answers."""

    def __init__(self, **settings):
        import uvicorn

        from serving.service.app import build
        from serving.service.metrics import Metrics
        from serving.service.models import Models
        from serving.service.settings import ServeSettings

        chosen, metrics = ServeSettings.model_validate({"deadline_ms": 60_000} | settings), Metrics()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._models = Models(chosen, metrics)
        gate = build(chosen, self._models.__enter__(), metrics).gate
        config = uvicorn.Config(gate, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self.port}/"

    def ask(self, path, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body).encode(), headers)
            return json.loads(connection.getresponse().read())

    def end(self):
        if self._thread.is_alive():
            self._server.should_exit = True
            self._thread.join(30)
            self._models.__exit__(None, None, None)
        self._socket.close()


@pytest.fixture(scope="session")
def serve(hostile, other_index):
    """Start a service of two models: `serve(max_k=5)`."""
    pytest.importorskip("fastapi", reason="the extra `serve` is absent")
    started = []

    def start(**settings):
        corpus = str(hostile / "corpus")
        models = {"new": {"index": str(hostile / "index"), "corpus": corpus}}
        models["old"] = {"index": str(other_index), "corpus": corpus}
        given = {"models": models, "judgments": str(hostile / "judgments.jsonl"), "max_query_chars": 300}
        started.append(Served(**given | settings))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="session")
def service(serve):
    """The service that most tests ask."""
    return serve()


class Page:
    """The page of a service in the browser."""

    def __init__(self, browser, service):
        self.browser, self.url = browser, service.url

    def open(self, size=(1280, 900), language="en", scheme="light", again=False, **chosen):
        """Open it with what its address says, and wait until it rests; `again` = by somebody who was here before."""
        if not again:
            origin = {"origin": self.url.rstrip("/"), "storageTypes": "local_storage"}
            self.browser.devtools("Storage.clearDataForOrigin", origin)
        agent = {"userAgent": "Mozilla/5.0 (test)", "acceptLanguage": language}
        self.browser.devtools("Emulation.setUserAgentOverride", agent)
        address = f"{self.url}?{urlencode(chosen)}" if chosen else self.url
        self.browser.open(address, size, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        self.rest()

    def run(self, script):
        return self.browser.run(script)

    def rest(self):
        """Wait until nothing is asked for any more."""
        busy = "document.querySelector('#columns').hidden || document.querySelector('[aria-busy=true]') !== null"
        self.wait(f"return {busy}", False)

    def wait(self, script, wanted):
        until = time.monotonic() + 30
        while (found := self.run(script)) != wanted:
            assert time.monotonic() < until, (script, found, wanted)
            time.sleep(0.03)

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def order(self, side="a"):
        """Give the ids of the results as they stand."""
        return self.run(ORDER % side)

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def keep(self, name):
        """Write a screenshot where the environment asks for it."""
        if "MMSEARCH_SCREENSHOTS" in os.environ:
            taken = self.browser.devtools("Page.captureScreenshot")
            Path(os.environ["MMSEARCH_SCREENSHOTS"], f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.fixture
def page(browser, service):
    return Page(browser, service)


@pytest.fixture
def page_of(browser):
    """The page of another service: `page_of(serve(...))`."""
    return lambda service: Page(browser, service)
