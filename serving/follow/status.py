"""How a follower is doing: its lag, its rate, and what it waits for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mmsearch.logs import ProgressBar

log = logging.getLogger(__name__)


class Status:
    """Counts, and tells from time to time: on a terminal in one line that stays, elsewhere in the log.

    Args:
        every_s: seconds from one line of the log to the next.
        bar: the line of the terminal.
        clock: gives the time in seconds.
    """

    def __init__(self, every_s: float, bar: ProgressBar, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._bar, self._clock = every_s, bar, clock
        self._told_at = clock()
        self._visible_then = self._worst_s = 0.0
        self.visible = self.rejected = self.publications = 0
        self.busy: str | None = None
        self.lost: str | None = None

    def published(self, count: int, delay_s: float) -> None:
        """Note that changes became visible, the oldest of them `delay_s` after it arrived."""
        self.visible += count
        self.publications += 1
        self._worst_s = max(self._worst_s, delay_s)
        self.busy = None
        self._bar.advance(count)

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell."""
        return self._clock() - self._told_at >= self._every_s

    def tell(self, *, lag_s: float, waiting: int, generation: str) -> None:
        """Tell how things are.

        Args:
            lag_s: age of the oldest change that arrived and is not visible; 0 = there is none.
            waiting: changes that were read and are not visible.
            generation: what is served.
        """
        now = self._clock()
        rate = (self.visible - self._visible_then) / max(now - self._told_at, 1e-9)
        note = f"lag {lag_s:.1f} s, {rate:.1f} docs/s, {waiting} waiting, {self.rejected} rejected"
        note = "; ".join(part for part in (note, self.busy, self.lost) if part is not None)
        self._bar.note(note)
        fields = {
            "lag_s": round(lag_s, 3),
            "docs_per_s": round(rate, 3),
            "waiting": waiting,
            "visible": self.visible,
            "rejected": self.rejected,
            "worst_delay_s": round(self._worst_s, 3),
            "publications": self.publications,
            "generation": generation,
        }
        log.info("%s", note, extra={"fields": fields})
        self._told_at, self._visible_then, self._worst_s = now, self.visible, 0.0
