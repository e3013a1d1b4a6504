"""A server on this machine that answers by a rule, and models behind it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmsearch.sentences.models import ServerModelSettings

GOOD = {
    "choices": [{"message": {"content": '{"sentences": [1]}'}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5},
}


class Server(ThreadingHTTPServer):
    """Answers as `rule(path, body, count)` says: (status, headers, bytes or value)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.rule, self.requests, self.headers = lambda path, body, count: (200, {}, GOOD), [], []
        self.lock, self.running, self.most = threading.Lock(), 0, 0

    def handle_error(self, request, client_address):
        """Clients may leave early."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body))
            server.headers.append(dict(self.headers))
            server.running += 1
            server.most = max(server.most, server.running)
            count = len(server.requests)
        status, headers, content = server.rule(self.path, body, count)
        with server.lock:
            server.running -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for chunk in [content] if isinstance(content, bytes) else content if isinstance(content, list) else ():
            self.wfile.write(chunk)
            self.wfile.flush()
            time.sleep(0.05 if isinstance(content, list) else 0)
        if isinstance(content, dict):
            self.wfile.write(json.dumps(content).encode())

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    pytest.importorskip("httpx", exc_type=ImportError)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def model(server):
    opened = []

    def build(**others):
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/"
        wanted = {"base_url": url, "model": "tiny", "pause_s": 0.01, "max_tries": 3} | others
        opened.append(ServerModelSettings(**wanted).build())
        return opened[-1]

    yield build
    for one in opened:
        one.close()
