"""Clients that are slow to take their answers, and those that never do."""

import select
import socket
import time
from contextlib import closing

import pytest

HUGE = b"a" * (8 << 20)
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(HUGE)


def connect(port):
    """Connect with a small window, so that the kernel does not take the answer in the client's place."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    return client


def is_reset(client, seconds):
    """Tell whether the connection is reset within a time, without reading from it."""
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize(
    "said",
    [POST + b"\r\n" + HUGE, POST + b"Connection: close\r\n\r\n" + HUGE, POST + b"\r\n" + HUGE + b"nonsense\r\n\r\n"],
    ids=["kept", "closed", "refused"],
)
def test_a_client_that_takes_nothing_is_let_go(hasty, said):
    with closing(connect(hasty.port)) as client:
        client.sendall(said)
        assert is_reset(client, 30)


@pytest.mark.slow
def test_a_client_that_takes_a_little_gets_all_of_it(start_wire):
    with closing(connect(start_wire(body_timeout_s=3).port)) as client:
        client.sendall(POST + b"Connection: close\r\n\r\n" + HUGE)
        taken, began = [], time.monotonic()
        while part := client.recv(1 << 18):
            taken.append(part)
            if time.monotonic() - began < 7:
                time.sleep(0.1)
    assert HUGE in b"".join(taken)
    assert time.monotonic() - began > 7
