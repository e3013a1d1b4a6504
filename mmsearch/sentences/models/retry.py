"""Try again what may pass: a bounded number of times, with growing, random pauses."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from mmsearch.sentences.models.protocol import ModelUnavailableError

T = TypeVar("T")

_LONGEST_PAUSE_S = 60.0
#: A longer pause is told, since nothing else is meanwhile.
_TOLD_PAUSE_S = 5.0
_log = logging.getLogger(__name__)


class TryAgainError(Exception):
    """This try failed, and another may not.

    Args:
        problem: what happened, in words.
        wait_s: what the server asked to wait, or None.
    """

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


def with_retries(
    call: Callable[[], T], *, max_tries: int, pause_s: float, sleep: Callable[[float], object] = time.sleep
) -> T:
    """Call until it does not raise `TryAgainError`.

    The pause before try k is drawn evenly from 0 to `pause_s` * 2^(k-2) ("full jitter": callers that failed together do
    not come back together), or what the server asked for plus as much; never more than a minute.

    Args:
        call: what to call.
        max_tries: how often at most.
        pause_s: bound of the first pause.
        sleep: waits for so many seconds, or until it is of no use any more.

    Raises:
        ModelUnavailableError: the last try failed too; those of `call`.
    """
    for attempt in range(max_tries):
        try:
            return call()
        except TryAgainError as error:
            if attempt == max_tries - 1:
                raise ModelUnavailableError(f"no answer after {max_tries} tries: {error}") from error
            pause = random.uniform(0, pause_s * 2**attempt)  # noqa: S311 (no secret)
            pause = min((error.wait_s or 0.0) + pause, _LONGEST_PAUSE_S)
            if pause >= _TOLD_PAUSE_S:
                _log.info("%s; the next of %d tries comes in %.0f s", error, max_tries, pause)
            sleep(pause)
    raise ModelUnavailableError("no try was allowed")
