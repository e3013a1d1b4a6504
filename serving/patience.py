"""Waiting for those who publish for a moment only, such as a follower."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mmsearch.index.lock import BusyIndexError

T = TypeVar("T")

_POLL_S = 0.02


def patiently(attempt: Callable[[], T], seconds: float = 3.0) -> T:
    """Call a function again while the index is busy, at most for some seconds; give what it returns.

    A follower holds the lock for a fraction of a second every few seconds: who only comes once may well be refused.

    Raises:
        BusyIndexError: the index is busy for longer, and the message names the process.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except BusyIndexError:
            if time.monotonic() >= until:
                raise
            time.sleep(_POLL_S)
