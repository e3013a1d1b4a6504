"""Load for a server, from a process of its own: as fast as it answers, or at a rate that does not wait for it.

Answers are read as far as their status and length; connections are kept. Used by service.py.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

CHUNK = 1 << 16


@dataclass
class Load:
    """What came back: seconds of each answer, counts by status (0 = the connection broke), and the time it all took."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.took_s

    @property
    def failed(self) -> int:
        """Answers other than 200."""
        return sum(count for status, count in self.statuses.items() if status != 200)

    def quantile_ms(self, share: float) -> float:
        """Give a quantile of the times, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1e3 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def request_bytes(port: int, path: str, body: bytes, accept: str = "application/json") -> bytes:
    """Give a POST of JSON as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def in_own_process(
    port: int, requests: Sequence[bytes], seconds: float, *, connections: int = 8, rate: float | None = None
) -> Load:
    """Load a server from another process.

    Args:
        port: of 127.0.0.1.
        requests: what is sent, in turns.
        seconds: for how long.
        connections: kept open.
        rate: requests a second at random moments, each timed from when it was due; None = each connection asks as soon
            as it has its answer.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    given = (there, port, list(requests), seconds, connections, rate)
    process = multiprocessing.get_context("spawn").Process(target=_work, args=given)
    process.start()
    there.close()
    try:
        load: Load = here.recv()
    finally:
        process.join()
    return load


def _work(
    out: Connection, port: int, requests: list[bytes], seconds: float, connections: int, rate: float | None
) -> None:
    out.send(asyncio.run(_load(port, requests, seconds, connections, rate)))


async def _load(port: int, requests: list[bytes], seconds: float, connections: int, rate: float | None) -> Load:
    load, due = Load(), asyncio.Queue[float]()
    start = time.perf_counter()
    until = start + seconds
    asking = [_ask(port, requests[n::connections] or requests, until, load, due if rate else None) for n in
              range(connections)]  # fmt: skip
    if rate:
        asking.append(_fall_due(rate, until, due, connections))
    await asyncio.gather(*asking)
    load.took_s = time.perf_counter() - start
    return load


async def _fall_due(rate: float, until: float, due: asyncio.Queue[float], connections: int) -> None:
    chance, at = random.Random(1), time.perf_counter()
    while (at := at + chance.expovariate(rate)) < until:
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        due.put_nowait(at)
    for _ in range(connections):
        due.put_nowait(float("inf"))


async def _ask(port: int, requests: list[bytes], until: float, load: Load, due: asyncio.Queue[float] | None) -> None:
    connected = None
    number = 0
    while due is not None or time.perf_counter() < until:
        begun = await due.get() if due else time.perf_counter()
        if begun == float("inf"):
            break
        try:
            connected = connected or await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
            status, closes = await _exchange(*connected, requests[number % len(requests)])
        except (OSError, asyncio.IncompleteReadError):
            status, closes = 0, True
        if closes and connected:
            connected[1].close()
            connected = None
        number += 1
        load.seconds.append(time.perf_counter() - begun)
        load.statuses[status] = load.statuses.get(status, 0) + 1
    if connected:
        connected[1].close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bool]:
    """Send a request and read its answer; give the status, and whether the connection ends with it."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    while length > 0:
        part = await reader.read(min(length, CHUNK))
        if not part:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(part)
    return int(head[9:12]), b"connection: close" in head
