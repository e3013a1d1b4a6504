"""When to publish: often enough for the promised delay, and no more often than that."""

from __future__ import annotations

#: Part of the delay within which changes are collected; the rest is for a disk or a processor that is busy.
_COLLECT = 0.6


class Pace:
    """Tells when what is ready should be published.

    A change that was read at time t is published at t + 0.6 · max_delay_s - d, with d the time that publishing takes
    (the longest of late, forgotten slowly); at once when that is over already, or when a video was deleted.

    Args:
        max_delay_s: seconds from the arrival of a change to its visibility.
    """

    def __init__(self, max_delay_s: float) -> None:
        self._collect_s = _COLLECT * max_delay_s
        self._expected_s = 0.0

    @property
    def expected_s(self) -> float:
        """Seconds that publishing is expected to take."""
        return self._expected_s

    def took(self, seconds: float) -> None:
        """Learn how long a publication took."""
        self._expected_s = max(seconds, 0.8 * self._expected_s + 0.2 * seconds)

    def wait_s(self, now: float, oldest_ready: float | None, *, has_deletes: bool) -> float | None:
        """Give the seconds until publication; 0 = now, None = there is nothing to publish.

        Args:
            now: the time.
            oldest_ready: when the first change that is ready and not published was read; None = none is.
            has_deletes: whether one of these is a delete.
        """
        if oldest_ready is None:
            return None
        if has_deletes:
            return 0.0
        return max(0.0, oldest_ready + self._collect_s - self._expected_s - now)
