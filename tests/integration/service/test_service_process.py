"""The service as it is started: it ends as it should, and a slow or rude client holds up nobody."""

import socket
import subprocess
import sys
import threading
import time

import pytest

OK = {"query": "red ball", "doc_ids": ["d01", "nobody"]}


def test_sigterm_lets_requests_end_and_the_status_is_0(start, index):
    service = start("drain_s=2", "batch_wait_ms=100", "max_batch=2")
    service.wait()
    kept = service.connect()
    status, _, told = service.ask("POST", "/v1/score", OK, kept)
    assert status == 200
    assert told["docs"][1]["values"][0] is None
    found = []
    asking = threading.Thread(target=lambda: found.append(service.ask("POST", "/v1/score", OK)))
    asking.start()
    time.sleep(0.03)  # it waits in its batch
    service.process.terminate()
    while (ready := service.ask("GET", "/readyz", None, kept))[0] == 200:
        time.sleep(0.01)
    status, headers, _ = ready
    assert (status, headers["connection"]) == (503, "close")
    status, headers, answer = service.ask("POST", "/v1/score", OK)  # still taken
    assert (status, headers["connection"], answer["docs"]) == (200, "close", told["docs"])
    asking.join()
    assert found[0][0] == 200
    assert service.process.wait(30) == 0
    assert service.lines("ended")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", service.port), timeout=5).close()


@pytest.mark.slow
def test_slow_rude_and_many_clients_are_bounded(start):
    service = start("body_timeout_s=0.5", "max_body_bytes=4096", "max_connections=20", "drain_s=0", "grace_s=2")
    port = service.wait()

    def say(data: bytes, seconds: float = 5.0) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as rude:
            rude.sendall(data)
            said = b""
            while b"\r\n\r\n" not in said and (part := rude.recv(4096)):
                said += part
            return said.split(b"\r\n")[0]

    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 408 " in say(head + b"Content-Length: 100\r\n\r\n{")
    assert b" 413 " in say(head + b"Content-Length: 4097\r\n\r\n")
    assert b" 413 " in say(head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b" " * 1024 + b"\r\n") * 8)
    assert b" 400 " in say(head + b"Content-Length: -1\r\n\r\n")
    assert b" 431 " in say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
    assert b" 400 " in say(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert b" 421 " in say(b"GET /healthz HTTP/1.0\r\n\r\n")
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(25)]
    time.sleep(0.2)
    status, headers, _ = service.ask("POST", "/v1/score", OK)
    assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
    assert service.ask("GET", "/healthz")[0] == 200
    for one in waiting:
        one.close()
    until = time.monotonic() + 30
    while service.ask("POST", "/v1/score", OK)[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert service.end() == 0


@pytest.mark.slow
def test_what_cannot_be_served_is_told_without_a_traceback(index, tmp_path):
    def told(*settings: str) -> tuple[int, str]:
        ended = subprocess.run(
            [sys.executable, "-m", "serving", "serve", *settings], capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in ended.stderr
        return ended.returncode, " ".join(ended.stderr.split())

    own = f"models.tiny.index={index.folder}"
    assert told()[0] == 2
    status, text = told("models.tiny.index=/nowhere/at/all", "port=0")
    assert (status, "/nowhere/at/all" in text) == (3, True)
    status, text = told("models.tiny.index=/nowhere/at/all", "port=0", "num_workers=2")
    assert (status, "/nowhere/at/all" in text) == (3, True)
    status, text = told(own, f"models.tiny.corpus={tmp_path}", "port=0")
    assert status == 3
    status, text = told(own, "port=0", f"judgments={tmp_path}/none.jsonl")
    assert (status, "none.jsonl" in text) == (3, True)
    status, text = told(own, "port=0", f"api_keys_file={tmp_path}/none")
    assert (status, "cannot be read" in text) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, text = told(own, f"port={taken.getsockname()[1]}")
        assert (status, "choose another" in text) == (2, True)
