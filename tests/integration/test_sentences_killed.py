"""Extraction with a model behind a server, killed with kill -9 and started again: nothing is asked twice."""

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

NUM_VIDEOS = 60
COMMAND = "from mmsearch.cli.sentences import app; app()"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (number,) = re.findall(r"video (\d+)\n", body["messages"][1]["content"])
        self.server.asked[number] += 1
        time.sleep(0.02)
        content = {"choices": [{"message": {"content": '{"sentences": [2]}'}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *args):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """The client is killed on purpose."""


@pytest.fixture
def server():
    pytest.importorskip("httpx", exc_type=ImportError)
    running = Server(("127.0.0.1", 0), Handler)
    running.asked = Counter()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_what_a_killed_run_got_is_not_asked_again(server, tmp_path):
    table = tmp_path / "videos.jsonl"
    with table.open("w", encoding="utf-8") as file:
        for number in range(NUM_VIDEOS):
            words = f"First sentence of {number}. Second sentence of {number}. Third sentence of {number}."
            file.write(json.dumps({"doc_id": f"v{number}", "title": f"video {number}", "asr": words}) + "\n")
    command = [sys.executable, "-c", COMMAND, "extract", str(table), "method=select", "segmenter=bigrams"]
    command += ["max_chars=40", "max_sentence_chars=40", f"cache={tmp_path / 'cache.sqlite'}", "model.model=tiny"]
    command += [f"model.base_url=http://127.0.0.1:{server.server_address[1]}/v1", "model.max_in_flight=4"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(server.asked) < 20 and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    before = len(server.asked)
    assert 20 <= before < NUM_VIDEOS

    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [line["doc_id"] for line in lines] == [f"v{number}" for number in range(NUM_VIDEOS)]
    assert {(line["method"], *line["numbers"]) for line in lines} == {("select", 1)}
    assert len(server.asked) == NUM_VIDEOS
    twice = sum(count - 1 for count in server.asked.values())
    assert twice <= 4  # those in flight when it died
