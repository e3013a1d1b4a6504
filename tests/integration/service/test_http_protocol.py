"""HTTP as it is read from a real socket: bounds of heads, bodies and times, and requests that mean to smuggle others."""

import asyncio
import json
import logging
import socket
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.service.server import MAX_HEAD_BYTES, protocol_of
from serving.service.settings import ServeSettings

SETTINGS = ServeSettings(models={"tiny": {"index": "nowhere"}}, body_timeout_s=0.4, keep_alive_s=0.8, port=0)
CLOSE = b"Host: a\r\nConnection: close\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + CLOSE + b"\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


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
    """Serve `echo` in a thread; give the port."""
    options = {"log_config": None, "lifespan": "off", "ws": "none", "access_log": False, "timeout_keep_alive": 1}
    server = uvicorn.Server(uvicorn.Config(echo, http=http, h11_max_incomplete_event_size=MAX_HEAD_BYTES, **options))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            yield taken.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def port():
    """A server with httptools within bounds."""
    protocol = protocol_of(SETTINGS)
    assert issubclass(protocol, HttpToolsProtocol)
    with serving(protocol) as taken:
        yield taken


@pytest.fixture(scope="module")
def port_of_h11():
    """A server as it is where httptools is absent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "httptools", None)
        for name in ("serving.service.http_protocol", "uvicorn.protocols.http.httptools_impl"):
            patch.delitem(sys.modules, name, raising=False)
        protocol = protocol_of(SETTINGS)
    assert protocol == "h11"
    with serving(protocol) as taken:
        yield taken


@pytest.fixture(params=["port", "port_of_h11"])
def either(request):
    """Both."""
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def no_noise(caplog):
    """Nothing a client says makes the log grow beyond its line."""
    caplog.set_level(logging.WARNING)
    yield
    # h11 is left as uvicorn has it: one line for each request that it cannot read
    assert [r.getMessage() for r in caplog.records if "Invalid HTTP request" not in r.getMessage()] == []


def answers(port, *parts, pause=0.03):
    """Say parts, one after the other, and give all answers (status, head, body) until the end of the connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as client:
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


def statuses(port, *parts, **options):
    return [status for status, _, _ in answers(port, *parts, **options)]


def asked(port, *parts):
    """Give method, path and body of each request as the application saw it."""
    told = answers(port, *parts)
    assert {status for status, _, _ in told} == {200}
    return [tuple(json.loads(body)[:3]) for _, _, body in told]


def problem(port, *parts):
    """Give status and code of the one answer, which is a problem and the last."""
    ((status, headers, body),) = answers(port, *parts)
    told = json.loads(body)
    assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")
    assert (told["status"], told["request_id"]) == (status, headers["x-request-id"])
    return status, told["code"]


def head_of(size, *, end=b"\r\n\r\n"):
    start = b"GET /x HTTP/1.1\r\nConnection: close\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - len(end)) + end


def test_what_is_overridden_is_there():
    for name in ("connection_made", "connection_lost", "data_received", "on_message_begin", "on_header", "on_body"):
        assert callable(getattr(HttpToolsProtocol, name))
    for name in ("on_headers_complete", "on_message_complete", "on_response_complete", "_unset_keepalive_if_required"):
        assert callable(getattr(HttpToolsProtocol, name))
    made = HttpToolsProtocol(uvicorn.Config(echo, log_config=None), uvicorn.server.ServerState(), {}, object())
    assert {"parser", "pipeline", "flow", "cycle", "transport", "loop", "server_state", "scope", "headers"} <= set(
        vars(made)
    )


def test_heads_are_bounded_to_the_byte(port):
    assert statuses(port, head_of(MAX_HEAD_BYTES)) == [200]
    assert problem(port, head_of(MAX_HEAD_BYTES + 1)) == (431, "head-too-large")
    assert problem(port, head_of(200_000, end=b"")) == (431, "head-too-large")
    assert problem(port, b"GET /" + b"x" * 100_000) == (431, "head-too-large")
    assert problem(port, b"\r\n" * 50_000) == (431, "head-too-large")
    halves = head_of(40_000, end=b""), b"y" * 40_000
    assert problem(port, *halves) == (431, "head-too-large")
    first = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
    assert statuses(port, first, *halves) == [200, 431]
    assert statuses(port, POST + b"Content-Length: 9999\r\n\r\n" + b"b" * 9999, b"\r\n" * 40_000) == [200, 431]
    assert asked(port, b"\r\n\r\n" + LAST) == [("GET", "/last", "")]
    assert statuses(port, first + head_of(200_000)) == [200, 431]


def test_both_bound_heads_and_take_large_bodies_with_them(either):
    assert statuses(either, head_of(200_000, end=b"")) in ([431], [400])
    body = b"b" * 300_000
    sent = POST + b"Content-Length: 300000\r\n\r\n" + body
    assert asked(either, sent + LAST) == [("POST", "/p", body.decode()), ("GET", "/last", "")]
    chunks = b"".join(b"1\r\nb\r\n" for _ in range(50_000))
    assert asked(either, CHUNKED + chunks + b"0\r\n\r\n" + LAST) == [("POST", "/p", "b" * 50_000), ("GET", "/last", "")]


def test_trailers_and_extensions_are_bounded_and_are_no_headers(port):
    assert problem(port, CHUNKED + b"1;" + b"e" * 100_000, b"e" * 100_000) == (431, "head-too-large")
    assert problem(port, CHUNKED + b"0\r\n" + b"T: t\r\n" * 30_000) == (431, "head-too-large")
    (_, _, first), (_, _, second) = answers(port, CHUNKED + b"1;e=1\r\nb\r\n0\r\nAuthorization: me\r\n\r\n" + LAST)
    assert json.loads(first) == ["POST", "/p", "b", ["host", "transfer-encoding"]]
    assert json.loads(second) == ["GET", "/last", "", ["host", "connection"]]


BAD = {
    "length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "NUL": POST + b"X: a\x00b\r\n\r\n",
    "a bare CR": POST + b"X: a\rY: b\r\n\r\n",
    "a folded framing": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bytes beyond ASCII": b"GET /\xff\xc3\xa4 HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
    "a wrong chunk": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "a chunk too long": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "an endless chunk": CHUNKED + b"F" * 17 + b"\r\na",
}
STRICT = {
    "bare line ends": b"GET / HTTP/1.1\nHost: a\n\n",
    "a folded header": POST + b"X: a\r\n b\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no such method": b"BREW / HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "chunks of bare line ends": CHUNKED + b"1\na\n0\n\n",
    "no path": b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", [*BAD, *STRICT])
def test_refusals_are_problems(port, name):
    sent = {**BAD, **STRICT}[name]
    wanted = (405, "method-not-allowed") if name == "CONNECT" else (400, "malformed")
    assert problem(port, sent + LAST) == wanted
    assert problem(port, sent[: len(sent) // 2], sent[len(sent) // 2 :] + LAST) == wanted


def test_what_was_asked_before_a_refusal_is_answered_first(port):
    slow = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb"
    assert statuses(port, slow + b"\x00") == [200, 400]
    assert statuses(port, slow, b"\x00") == [200, 400]
    assert statuses(port, slow + BAD["a wrong chunk"]) == [200, 400]
    assert statuses(port, slow + slow + BAD["a wrong chunk"], LAST) == [200, 200, 400]
    assert statuses(port, b"POST /deaf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"x\r\n") == [200]
    last = LAST.replace(b"/last", b"/slow")
    assert statuses(port, last + b"\x00", LAST) == [200]


def test_requests_that_wait_are_bounded(port):
    one = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    assert statuses(port, one * 33 + b"\x00") == [200] * 33 + [400]
    found = answers(port, one * 2000)
    assert [status for status, _, _ in found] == [200] * 33 + [429]
    assert found[-1][1]["retry-after"] == "1"


@pytest.mark.parametrize("wish", [b"h2c", b"websocket", b"TLS/1.2"])
def test_wishes_to_upgrade_are_not_heard(port, wish):
    wishing = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + wish + b"\r\n"
    post = POST + wishing + b"Content-Length: 3\r\n\r\n"
    wanted = [("POST", "/p", "abc"), ("GET", "/last", "")]
    assert asked(port, post + b"abc" + LAST) == wanted
    assert asked(port, post + b"a", b"bc", LAST) == wanted
    chunked = POST + wishing + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert asked(port, chunked + LAST) == wanted
    assert asked(port, chunked[:30], chunked[30:140], chunked[140:] + LAST) == wanted
    get = b"GET /g?q HTTP/1.1\r\nHost: a\r\n" + wishing + b"\r\n"
    assert asked(port, get + get + LAST) == [("GET", "/g", "")] * 2 + [("GET", "/last", "")]
    smuggled = POST + wishing + b"Content-Length: 37\r\n\r\n" + b"GET /evil HTTP/1.1\r\nHost: evil.com\r\n\r\n"
    assert [path for _, path, _ in asked(port, smuggled[:-37] + smuggled[-37:] + LAST)] == ["/p", "/last"]


def test_rare_and_right_requests_are_answered_by_both(either):
    assert asked(either, b"GET http://b/x?q HTTP/1.1\r\n" + CLOSE + b"\r\n")[0][0] == "GET"
    assert asked(either, b"GET /x%00%ff HTTP/1.1\r\n" + CLOSE + b"\r\n") == [("GET", "/x\0\ufffd", "")]
    assert asked(either, b"GET /x HTTP/1.0\r\n\r\n" + LAST) == [("GET", "/x", "")]
    assert asked(either, LAST + LAST) == [("GET", "/last", "")]
    get = b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET"
    assert asked(either, get + LAST) == [("GET", "/x", "GET"), ("GET", "/last", "")]
    with closing(socket.create_connection(("127.0.0.1", either), timeout=5)) as client:
        client.sendall(b"HEAD /x HTTP/1.1\r\n" + CLOSE + b"\r\n")
        said = b"".join(iter(lambda: client.recv(4096), b""))
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"\r\n\r\n")


def test_100_continue_is_said_where_the_body_is_read_and_else_the_connection_ends(either):
    head = b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    found = answers(either, b"POST /p HTTP/1.1\r\n" + head, b"abc" + LAST)
    assert [status for status, _, _ in found] == [100, 200, 200]
    assert json.loads(found[1][2])[2] == "abc"
    assert statuses(either, b"POST /deaf HTTP/1.1\r\n" + head, LAST, pause=0.2) in ([200], [200, 400])


def test_time_is_bounded(port):
    def seconds_until_end(*parts, pause=0.03):
        start = time.perf_counter()
        found = statuses(port, *parts, pause=pause)
        return found, time.perf_counter() - start

    found, seconds = seconds_until_end(b"GET / HT")
    assert (found, 0.3 < seconds < 3) == ([408], True)
    found, seconds = seconds_until_end(*[b"x"[:1]] * 30, pause=0.05)  # one byte after the other is no reprieve
    assert found in ([408], [400])
    found, seconds = seconds_until_end(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n", *[b"\r\n"] * 30, pause=0.05)
    assert (found, seconds < 4) == ([200, 408], True)
    deaf = b"POST /deaf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    found, seconds = seconds_until_end(deaf, *[b"1\r\nb\r\n"] * 40, pause=0.05)
    assert (found, seconds < 4) == ([200], True)
    found, seconds = seconds_until_end()
    assert (found, 0.6 < seconds < 4) == ([], True)
    assert asked(port, deaf, b"1\r\nb\r\n0\r\n\r\n", LAST)[-1] == ("GET", "/last", "")
