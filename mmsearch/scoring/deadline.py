"""The time by which an answer must be there."""

from __future__ import annotations

import time

from mmsearch.errors import DeadlineError


class Deadline:
    """A moment of the monotonic clock; setting the wall clock does not move it.

    Args:
        seconds: from now; None = there is no deadline.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return self._at is not None and time.monotonic() >= self._at

    def error(self) -> DeadlineError:
        """Give the error for an answer of which nothing was there in time."""
        return DeadlineError(
            f"no score within the deadline of {1e3 * (self._seconds or 0):.3g} ms; give more time or fewer candidates"
        )
