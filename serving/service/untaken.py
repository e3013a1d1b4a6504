"""A client that does not take its answer must not keep its connection for ever."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress


class Untaken:
    """Ends a connection of which nothing is taken for `seconds` while parts of answers wait to be sent.

    Args:
        transport: the connection.
        loop: its event loop.
        seconds: how long; each byte that the client takes begins it anew, to a precision of `seconds`.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport, self._loop, self._seconds = transport, loop, seconds
        self._left = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look whether something waits to be sent, and in a while whether it still does; call it after writing."""
        self._left = self._unsent()
        if self._left and self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Look no more: the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._left and self._unsent() >= self._left:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # in the kernel too
            self._transport.abort()
        else:
            self.watch()

    def _unsent(self) -> int:
        """Give the bytes that wait here, and what the kernel holds besides: a slow client takes from that for long."""
        here = self._transport.get_write_buffer_size()
        if not here:
            return 0
        with suppress(OSError):  # systems that do not tell it of sockets
            connection = self._transport.get_extra_info("socket")
            (held,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0)))
            return here + int(held)
        return here
