"""HTTP as it comes in pieces: how the network cuts what is said changes neither what is asked nor the answers."""

import asyncio
import logging

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from serving.service.http_protocol import BoundedHttp

HOST = b"Host: a\r\n"
WISH = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
GOOD = [
    b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\nGET /2 HTTP/1.1\r\n" + HOST + WISH + b"\r\n",
    b"POST /3 HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nGET ",
    b"POST /4 HTTP/1.1\r\n" + HOST + WISH + b"Content-Length: 5\r\n\r\nGET /",
    b"POST /5 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nHost: b\r\n\r\n",
    b"POST /6 HTTP/1.1\r\n" + WISH + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
]
ENDS = [
    b"",
    b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    b"GET /last HTTP/1.0\r\n\r\n",
    b"GET /bad HTTP/1.1\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /bad HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab",
    b"POST /bad HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"GET /bad HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 1200,  # a later head of one read has up to twice 512
    b"\0",
]


class Wire(asyncio.Transport):
    """What a protocol says, without a socket."""

    def __init__(self):
        super().__init__()
        self.said, self.closed = b"", False

    def write(self, data):
        if not self.closed:
            self.said += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return 0

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def said(parts, *, patient=False):
    """Give what was asked, the statuses of the answers, and whether the connection is closed."""
    asked = []

    async def app(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        asked.append((scope["method"], scope["path"], body, [name for name, _ in scope["headers"] if name == b"host"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def talk():
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off", access_log=False)
        protocol, wire = BoundedHttp(config, uvicorn.server.ServerState(), {}), Wire()
        protocol.head_bytes = 512
        protocol.connection_made(wire)
        for part in parts:
            if wire.closed:
                break
            protocol.data_received(part)
            for _ in range(6 * patient):
                await asyncio.sleep(0)
        for _ in range(60):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.sleep(0)
        statuses = [int(line.split()[1]) for line in wire.said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        return asked, statuses, wire.closed

    return asyncio.run(talk())


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Nothing is logged as a warning or worse."""
    caplog.set_level(logging.WARNING)
    yield
    assert caplog.records == []


@given(st.lists(st.sampled_from(GOOD), max_size=6), st.sampled_from(ENDS), st.data())
def test_cuts_change_nothing(good, end, data):
    whole = b"".join([*good, end])
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    parts = [part for part in parts if part]
    wanted = said([whole])
    assert said(parts) == wanted
    assert said(parts, patient=True) == wanted
    asked, statuses, _ = wanted
    paths = [one.split()[1].decode() for one in good]
    assert [path for _, path, *_ in asked][: len(good)] == paths
    assert statuses[: len(good)] == [200] * len(good)
    assert {path for _, path, *_ in asked} <= {*paths, "/last"}


@given(st.lists(st.sampled_from(GOOD), max_size=3), st.binary(max_size=40), st.integers(0, 400), st.booleans())
def test_noise_is_answered_or_awaited(good, noise, at, is_instead):
    whole = b"".join(good)
    told = whole[:at] + noise + whole[at + len(noise) * is_instead :]
    asked, statuses, closed = said([told])
    assert len([status for status in statuses if status == 200]) == len(asked)
    assert set(statuses) <= {200, 400, 405, 431}
    assert not statuses or statuses[:-1] == [200] * (len(statuses) - 1)
    assert closed or all(status == 200 for status in statuses)
