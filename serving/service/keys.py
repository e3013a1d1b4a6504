"""API keys, from a file."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from pathlib import Path

from mmsearch.errors import ConfigError

_MIN_CHARS = 16
_COMMENT = re.compile(r"(^|\s)#.*")
_CHECK_EVERY_S = 1.0
_log = logging.getLogger(__name__)


class ApiKeys:
    """The keys of a file: a line `NAME KEY` each; `#` at a line's beginning or after a blank begins a comment.

    The file is read again when it changes. While it cannot be read, or holds a mistake, the keys that were read last
    stay, and the log tells. A key is compared as a SHA-256 digest with every key, in a time that does not depend on how
    much of it is right.

    Raises:
        ConfigError: the file cannot be read, holds no key, or a line is no `NAME KEY` with a key of 16 characters,
            all of them printable ASCII.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamp_now()
        self._names = _read(path)
        self._checked = time.monotonic()

    def name_of(self, key: str) -> str | None:
        """Give the name that a key stands under; None = it is not known."""
        self._refresh()
        given, found = _digest(key), None
        for digest, name in self._names.items():
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked < _CHECK_EVERY_S:
            return
        self._checked = now
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._names = _read(self._path)
            _log.info("read %d API keys anew from %s", len(self._names), self._path)
        except ConfigError as error:
            _log.error("the API keys of before stay: %s", error)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino


def _read(path: Path) -> dict[bytes, str]:
    names: dict[bytes, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8") from error
    for number, line in enumerate(lines, 1):
        words = _COMMENT.sub("", line).split()
        if not words:
            continue
        if len(words) != 2 or len(words[1]) < _MIN_CHARS:
            raise ConfigError(f"{path}:{number}: write NAME KEY, with {_MIN_CHARS} characters of key or more")
        if not all("!" <= char <= "~" for char in words[1]):  # clients do not agree on how a header holds others
            raise ConfigError(f"{path}:{number}: the key holds more than printable ASCII; choose another")
        names[_digest(words[1])] = words[0]
    if not names:
        raise ConfigError(f"{path}: holds no key; write a line NAME KEY for each client")
    return names


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
