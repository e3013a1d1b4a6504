"""Goes between videos and a model that may fail: waits an outage out, and gives up in the end (a circuit breaker)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from mmsearch.errors import ConfigError
from mmsearch.sentences.models import ModelRefusedError, ModelUnavailableError

T = TypeVar("T")

#: A request that fails so often is not made again: it may be what brings the model down.
_ROUNDS = 3
#: Where nothing was answered yet, so many refusals mean that the settings are wrong, not the videos.
_REFUSED_AT_FIRST = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 1 / 300, 1 / 10
_log = logging.getLogger(__name__)


class NotAskedError(ModelUnavailableError):
    """The model has not answered for long, and was not asked this time."""


class Breaker:
    """Lets requests through while a model answers; while it does not, one at a time, after growing pauses.

    An outage begins with a request that gets no answer while no other gets one either. Requests then wait, and the one
    that waits longest is made as a probe; any answer, a refusal too, ends the outage for all. When an outage has lasted
    for `give_up_after_s`, requests fail at once; only one in as many seconds is still made, and may end it.

    All methods may be called from several threads.

    Args:
        give_up_after_s: 0 = the first failure is enough.
    """

    def __init__(self, give_up_after_s: float) -> None:
        self._limit = give_up_after_s
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._since: float | None = None  # when the outage began; None = there is none
        self._pause = self._resume = 0.0
        self._probing = self._gave_up = self.stopped = False
        self._answered = self._refused = 0

    def call(self, ask: Callable[[], T]) -> T:
        """Make a request, up to three times, with what waiting it takes.

        Raises:
            ModelUnavailableError: no answer; `NotAskedError` where the request was not made.
            ModelRefusedError: that of the request.
            ConfigError: that of the request; or nothing but refusals came from the first request on.
        """
        for rounds_left in reversed(range(_ROUNDS)):
            is_probe = self._wait()
            began, answered = time.monotonic(), self._answered
            try:
                result = ask()
            except ModelUnavailableError as error:
                if not self._goes_on_after(error, began, answered, is_probe) or not rounds_left:
                    raise
            except ModelRefusedError as error:
                self._end_outage(is_probe)
                self._count_refusal(error)
                raise
            except BaseException:
                self._release(is_probe)
                raise
            else:
                self._end_outage(is_probe, answered=1)
                return result
        raise NotAskedError("no round was allowed")

    def stop(self) -> None:
        """Let all that waits here fail, now and later."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Wait until a request may be made; tell whether it is a probe."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._since is not None and not self.stopped:
                    left = self._resume - time.monotonic()
                    if left <= 0 and not self._probing and self._waiting[0] is ticket:
                        self._probing = True
                        return True
                    if self._gave_up:
                        raise NotAskedError(f"the model has not answered for {self._limit:g} s, and is not asked")
                    self._changed.wait(left if left > 0 and not self._probing else None)
                if self.stopped:
                    raise NotAskedError("the extraction was ended")
                return False
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _goes_on_after(self, error: Exception, began: float, answered: int, is_probe: bool) -> bool:
        """Take note of a failure; tell whether the request may be made again."""
        with self._changed:
            if is_probe:
                self._probing = False
                self._pause = min(2 * self._pause, _LONGEST_PAUSE * self._limit)
                self._resume = time.monotonic() + (self._limit if self._gave_up else self._pause)
            elif self._since is None and self._answered == answered and not self.stopped:
                self._begin_outage(error, began)
            now = time.monotonic()
            if self._since is not None and not self._gave_up and now - self._since >= self._limit:
                self._gave_up, self._resume = True, now + self._limit
                _log.warning("%s; the model has not answered for %g s and is given up", error, self._limit)
            self._changed.notify_all()
            return not (self._gave_up or self.stopped)

    def _begin_outage(self, error: Exception, began: float) -> None:
        self._since, self._pause = began, _FIRST_PAUSE * self._limit
        self._resume = time.monotonic() + self._pause
        if self._limit:
            _log.warning("%s; waiting for the model, up to %g s", error, self._limit)

    def _end_outage(self, is_probe: bool, answered: int = 0) -> None:
        with self._changed:
            self._answered += answered
            if self._since is not None:
                _log.info("the model answers again, after %.0f s", time.monotonic() - self._since)
            self._since, self._gave_up = None, False
            self._probing = self._probing and not is_probe
            self._changed.notify_all()

    def _count_refusal(self, error: Exception) -> None:
        with self._changed:
            self._refused += 1
            if not self._answered and self._refused >= _REFUSED_AT_FIRST:
                raise ConfigError(
                    f"the model refused each of the first {self._refused} requests, the last one so: {error}; "
                    "check the settings under `model`, or ask for less at a time (select.max_prompt_chars)"
                ) from error

    def _release(self, is_probe: bool) -> None:
        with self._changed:
            self._probing = self._probing and not is_probe
            self._changed.notify_all()
