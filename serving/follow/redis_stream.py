"""A Redis stream of changes, read in a consumer group."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from mmsearch.data.formats import Cells, json_cells
from mmsearch.data.lines import MAX_LINE_BYTES, Unreadable
from mmsearch.errors import ConfigError, DataError
from mmsearch.extras import require
from serving.follow.stream import Entry, Position

_GROUP, _CONSUMER = "mmsearch", "follow"
_PAUSE_S = 1.0
_TIMEOUT_S = 30.0
_AT_ONCE = 256

log = logging.getLogger(__name__)


class RedisStream:
    """Reads `redis://HOST:PORT/DB?stream=NAME&group=GROUP` (the group is `mmsearch` by default).

    An entry holds one field `json` with a line as in a file, or the cells of a row as its fields, as in CSV. What is
    visible is acknowledged, so `XINFO GROUPS` tells an operator how far the group is. But the truth is the position in
    the index: `seek` sets the group to it, so that an index that was rolled back, or a base that was published
    meanwhile, gets everything again that it lacks. While the server is away, reading gives nothing and goes on later.

    Args:
        url: of the server, with the stream in its query.
        name: instead of the URL without its password.

    Raises:
        ConfigError: the URL names no stream, or cannot be read.
        DataError: the server does not answer.
        MissingExtraError: the client of Redis is absent.
    """

    def __init__(self, url: str, name: str | None = None) -> None:
        self._redis = require("redis", extra="redis")
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._stream, self._group = query.pop("stream", [""])[0], query.pop("group", [_GROUP])[0]
        server = f"{parts.scheme}://{parts.netloc}{parts.path}"
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?stream={self._stream}"
        self.name = name or shown
        if not self._stream:
            raise ConfigError(f"{shown}: names no stream; write redis://HOST:PORT/DB?stream=NAME")
        try:
            self._client = self._redis.Redis.from_url(
                f"{server}?{urlencode(query, doseq=True)}", socket_timeout=_TIMEOUT_S
            )
            self._position: Position | None = None
            self._client.ping()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{shown}: {error}") from None
        except self._redis.RedisError as error:
            raise DataError(f"{self.name}: does not answer: {error}") from None
        self._away_since: float | None = None

    def seek(self, position: Position | None) -> None:
        """Set the group to a position, and acknowledge what lies before it.

        Raises:
            DataError: the server does not answer.
        """
        self._position = position
        try:
            self._seek()
        except self._redis.RedisError as error:
            raise DataError(f"{self.name}: {error}") from None

    def _seek(self) -> None:
        at = _id(self._position)
        try:
            self._client.xgroup_create(self._stream, self._group, id=at, mkstream=True)
        except self._redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            self._client.xgroup_setid(self._stream, self._group, at)
        self._acknowledge(at)
        self._warn_of_a_gap(at)

    def _warn_of_a_gap(self, at: str) -> None:
        """Tell when entries behind the position may be gone: the entry there is, and there have been later ones."""
        told = self._client.xinfo_stream(self._stream)
        first = told["first-entry"] and _text(told["first-entry"][0])
        if self._position is None or _order(_text(told["last-generated-id"])) <= _order(at):
            return
        if first is None or _order(first) > _order(at):
            log.warning(
                "%s: entries behind %s may have been removed before they were read (the first that is left is %s); "
                "what was lost comes with the next full refresh",
                self.name,
                at,
                first or "none",
            )

    def _acknowledge(self, up_to: str) -> None:
        while left := self._client.xpending_range(self._stream, self._group, "-", up_to, 1000):
            self._client.xack(self._stream, self._group, *(entry["message_id"] for entry in left))

    def read(self, count: int) -> Sequence[Entry]:
        """Give the next entries."""
        try:
            if self._away_since is not None:
                self._seek()  # what was on its way when the connection broke comes again
            found = self._client.xreadgroup(self._group, _CONSUMER, {self._stream: ">"}, count=min(count, _AT_ONCE))
        except self._redis.RedisError as error:
            self._tell_away(error)
            return []
        if self._away_since is not None:
            log.info("%s: answers again after %.1f s", self.name, time.monotonic() - self._away_since)
            self._away_since = None
        entries = [self._entry(_text(key), fields) for _, rows in found or () for key, fields in rows]
        if entries:
            self._position = entries[-1].position
        return entries

    def backlog(self) -> Iterator[Entry]:
        """Give what there is to read now, without reading it; nothing more when the server goes away."""
        after = _id(self._position)
        try:
            while found := self._client.xrange(self._stream, f"({after}", "+", count=_AT_ONCE):
                yield from (self._entry(_text(key), fields) for key, fields in found)
                after = _text(found[-1][0])
        except self._redis.RedisError as error:
            log.warning("%s: %s", self.name, error)

    def gone(self, position: Position | None) -> str | None:
        """Name the entry at a position when it was trimmed or deleted."""
        if position is None:
            return None
        at = _id(position)
        try:
            return None if self._client.xrange(self._stream, at, at, count=1) else f"{self.name} {at}"
        except self._redis.RedisError as error:
            log.warning("%s: %s", self.name, error)
            return None

    def wait(self, seconds: float) -> None:
        """Sleep until there is an entry, or the time is over."""
        try:  # XREAD only looks; XREADGROUP would deliver what `read` is to give
            after = _id(self._position)
            self._client.xread({self._stream: after}, count=1, block=max(1, int(1000 * seconds)))
        except self._redis.RedisError:
            time.sleep(seconds)

    def _tell_away(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("%s: does not answer, and is asked again until it does: %s", self.name, error)
        time.sleep(_PAUSE_S)

    def _entry(self, key: str, fields: dict[bytes, bytes] | None) -> Entry:
        arrived = min(int(key.partition("-")[0]) / 1000, time.time())
        size = sum(len(name) + len(value) for name, value in (fields or {}).items())
        return Entry({"id": key}, f"{self.name} {key}", _cells(fields or {}, size), arrived, _order(key), size)

    def done(self, position: Position) -> None:
        """Acknowledge everything up to a position."""
        try:
            self._acknowledge(_id(position))
        except self._redis.RedisError as error:
            log.warning("%s: could not be told what is visible: %s", self.name, error)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _id(position: Position | None) -> str:
    return "0-0" if position is None else str(position["id"])


def _order(key: str) -> tuple[int, int]:
    at, _, number = key.partition("-")
    return int(at), int(number or 0)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _cells(fields: dict[bytes, bytes], size: int) -> Cells | Unreadable:
    if size > MAX_LINE_BYTES:
        return Unreadable(f"the entry has {size:,} bytes, and {MAX_LINE_BYTES:,} are read; shorten its texts", "")
    if set(fields) == {b"json"}:
        return json_cells(fields[b"json"])
    try:
        return {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError:
        return Unreadable("a field is not valid UTF-8", "")
