"""HTTP as it is read from a socket: bounds of heads, bodies and times, and requests that mean to smuggle others."""

import json
import logging
import socket
import time
from contextlib import closing

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.service.server import MAX_HEAD_BYTES

CLOSE = b"Host: a\r\nConnection: close\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + CLOSE + b"\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def no_noise(caplog):
    """Nothing a client says makes the log grow beyond its line."""
    caplog.set_level(logging.WARNING)
    yield
    # h11 is left as uvicorn has it: one line for each request that it cannot read
    assert [r.getMessage() for r in caplog.records if "Invalid HTTP request" not in r.getMessage()] == []


def head_of(size, *, end=b"\r\n\r\n"):
    start = b"GET /x HTTP/1.1\r\nConnection: close\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - len(end)) + end


def test_what_is_overridden_is_there():
    for name in ("connection_made", "connection_lost", "data_received", "on_message_begin", "on_header", "on_body"):
        assert callable(getattr(HttpToolsProtocol, name))
    for name in ("on_headers_complete", "on_message_complete", "on_response_complete", "_unset_keepalive_if_required"):
        assert callable(getattr(HttpToolsProtocol, name))
    made = HttpToolsProtocol(uvicorn.Config(print, log_config=None), uvicorn.server.ServerState(), {}, object())
    assert {"parser", "pipeline", "flow", "cycle", "transport", "loop", "server_state", "scope", "headers"} <= set(
        vars(made)
    )


def test_heads_are_bounded_to_the_byte(wire):
    assert wire.statuses(head_of(MAX_HEAD_BYTES)) == [200]
    assert wire.problem(head_of(MAX_HEAD_BYTES + 1)) == (431, "head-too-large")
    assert wire.problem(head_of(200_000, end=b"")) == (431, "head-too-large")
    assert wire.problem(b"GET /" + b"x" * 100_000) == (431, "head-too-large")
    assert wire.problem(b"\r\n" * 50_000) == (431, "head-too-large")
    halves = head_of(40_000, end=b""), b"y" * 40_000
    assert wire.problem(*halves) == (431, "head-too-large")
    first = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
    assert wire.statuses(first, *halves) == [200, 431]
    assert wire.statuses(POST + b"Content-Length: 9999\r\n\r\n" + b"b" * 9999, b"\r\n" * 40_000) == [200, 431]
    assert wire.asked(b"\r\n\r\n" + LAST) == [("GET", "/last", "")]
    assert wire.statuses(first + head_of(200_000)) == [200, 431]


def test_both_bound_heads_and_take_large_bodies_with_them(either):
    assert either.statuses(head_of(200_000, end=b"")) in ([431], [400])
    body = b"b" * 300_000
    sent = POST + b"Content-Length: 300000\r\n\r\n" + body
    assert either.asked(sent + LAST) == [("POST", "/p", body.decode()), ("GET", "/last", "")]
    chunks = b"".join(b"1\r\nb\r\n" for _ in range(50_000))
    assert either.asked(CHUNKED + chunks + b"0\r\n\r\n" + LAST) == [("POST", "/p", "b" * 50_000), ("GET", "/last", "")]


def test_trailers_and_extensions_are_bounded_and_are_no_headers(wire):
    assert wire.problem(CHUNKED + b"1;" + b"e" * 100_000, b"e" * 100_000) == (431, "head-too-large")
    assert wire.problem(CHUNKED + b"0\r\n" + b"T: t\r\n" * 30_000) == (431, "head-too-large")
    (_, _, first), (_, _, second) = wire.answers(CHUNKED + b"1;e=1\r\nb\r\n0\r\nAuthorization: me\r\n\r\n" + LAST)
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
def test_refusals_are_problems(wire, name):
    sent = {**BAD, **STRICT}[name]
    wanted = (405, "method-not-allowed") if name == "CONNECT" else (400, "malformed")
    assert wire.problem(sent + LAST) == wanted
    assert wire.problem(sent[: len(sent) // 2], sent[len(sent) // 2 :] + LAST) == wanted


def test_what_was_asked_before_a_refusal_is_answered_first(wire):
    slow = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb"
    assert wire.statuses(slow + b"\x00") == [200, 400]
    assert wire.statuses(slow, b"\x00") == [200, 400]
    assert wire.statuses(slow + BAD["a wrong chunk"]) == [200, 400]
    assert wire.statuses(slow + slow + BAD["a wrong chunk"], LAST) == [200, 200, 400]
    assert wire.statuses(b"POST /deaf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"x\r\n") == [200]
    last = LAST.replace(b"/last", b"/slow")
    assert wire.statuses(last + b"\x00", LAST) == [200]


def test_requests_that_wait_are_bounded(wire):
    one = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    assert wire.statuses(one * 33 + b"\x00") == [200] * 33 + [400]
    found = wire.answers(one * 2000)
    assert [status for status, _, _ in found] == [200] * 33 + [429]
    assert found[-1][1]["retry-after"] == "1"


@pytest.mark.parametrize("wish", [b"h2c", b"websocket", b"TLS/1.2"])
def test_wishes_to_upgrade_are_not_heard(wire, wish):
    wishing = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + wish + b"\r\n"
    post = POST + wishing + b"Content-Length: 3\r\n\r\n"
    wanted = [("POST", "/p", "abc"), ("GET", "/last", "")]
    assert wire.asked(post + b"abc" + LAST) == wanted
    assert wire.asked(post + b"a", b"bc", LAST) == wanted
    chunked = POST + wishing + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert wire.asked(chunked + LAST) == wanted
    assert wire.asked(chunked[:30], chunked[30:140], chunked[140:] + LAST) == wanted
    get = b"GET /g?q HTTP/1.1\r\nHost: a\r\n" + wishing + b"\r\n"
    assert wire.asked(get + get + LAST) == [("GET", "/g", "")] * 2 + [("GET", "/last", "")]
    smuggled = POST + wishing + b"Content-Length: 37\r\n\r\n" + b"GET /evil HTTP/1.1\r\nHost: evil.com\r\n\r\n"
    assert [path for _, path, _ in wire.asked(smuggled[:-37] + smuggled[-37:] + LAST)] == ["/p", "/last"]


def test_rare_and_right_requests_are_answered_by_both(either):
    assert either.asked(b"GET http://b/x?q HTTP/1.1\r\n" + CLOSE + b"\r\n")[0][0] == "GET"
    assert either.asked(b"GET /x%00%ff HTTP/1.1\r\n" + CLOSE + b"\r\n") == [("GET", "/x\0\ufffd", "")]
    assert either.asked(b"GET /x HTTP/1.0\r\n\r\n" + LAST) == [("GET", "/x", "")]
    assert either.asked(LAST + LAST) == [("GET", "/last", "")]
    get = b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET"
    assert either.asked(get + LAST) == [("GET", "/x", "GET"), ("GET", "/last", "")]
    with closing(socket.create_connection(("127.0.0.1", either.port), timeout=20)) as client:
        client.sendall(b"HEAD /x HTTP/1.1\r\n" + CLOSE + b"\r\n")
        said = b"".join(iter(lambda: client.recv(4096), b""))
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"\r\n\r\n")


def test_100_continue_is_said_where_the_body_is_read_and_else_the_connection_ends(either):
    head = b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    found = either.answers(b"POST /p HTTP/1.1\r\n" + head, b"abc" + LAST)
    assert [status for status, _, _ in found] == [100, 200, 200]
    assert json.loads(found[1][2])[2] == "abc"
    found = either.statuses(b"POST /deaf HTTP/1.1\r\n" + head, LAST, pause=0.2)
    assert found in ([200], [200, 400])  # h11 does not read on, and says so


def test_a_body_that_waited_for_100_in_vain_is_not_awaited(wire):
    head = b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    assert wire.statuses(b"POST /deaf HTTP/1.1\r\n" + head, LAST, pause=0.2) == [200]


def test_time_is_bounded(hasty, wire):
    def seconds_until_end(*parts, pause=0.03):
        start = time.perf_counter()
        found = hasty.statuses(*parts, pause=pause)
        return found, time.perf_counter() - start

    found, seconds = seconds_until_end(b"GET / HT")
    assert (found, 0.3 < seconds < 15) == ([408], True)
    found, seconds = seconds_until_end(b"GET /", *[b"x"] * 80, pause=0.05)  # one byte after the other is no reprieve
    assert (found, seconds < 15) == ([408], True)
    found, seconds = seconds_until_end(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n", *[b"\r\n"] * 30, pause=0.05)
    assert (found, seconds < 15) == ([200, 408], True)
    deaf = b"POST /deaf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    found, seconds = seconds_until_end(deaf, *[b"1\r\nb\r\n"] * 40, pause=0.05)
    assert (found, seconds < 15) == ([200], True)
    found, seconds = seconds_until_end(deaf)
    assert (found, seconds < 15) == ([200], True)
    found, seconds = seconds_until_end()
    assert (found, 0.6 < seconds < 15) == ([], True)
    assert wire.asked(deaf, b"1\r\nb\r\n0\r\n\r\n", LAST)[-1] == ("GET", "/last", "")
