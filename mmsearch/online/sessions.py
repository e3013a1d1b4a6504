"""A click log by session, and what a session says about the list that it was shown.

The session is the unit of chance: rows of one session are one searcher's, and not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.errors import DataError
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.statistic import Statistic, mean_of
from mmsearch.types import Interaction

#: Sessions by id, in the order of their first rows; the rows of each in the order of the log.
Sessions = Mapping[str, Sequence[Interaction]]
#: What a searcher gained of a shown video: 0 for nothing.
Gain = Callable[[Interaction], float]


def by_session(log: Iterable[Interaction]) -> dict[str, list[Interaction]]:
    """Group a click log by session.

    Raises:
        DataError: a row has no session.
    """
    sessions: dict[str, list[Interaction]] = {}
    for number, row in enumerate(log, start=1):
        if row.session_id is None:
            raise DataError(f"row {number} of the click log has no session_id; without it no chance can be computed")
        sessions.setdefault(row.session_id, []).append(row)
    return sessions


def clicks(row: Interaction) -> float:
    """Give 1 for a click."""
    return float(row.clicked)


@dataclass(frozen=True, slots=True)
class LongClicks:
    """Gives 1 for a click after which the video was watched for `min_watch_s` seconds, or for `min_share` of it.

    Args:
        durations: seconds by video; a video without a duration has the first rule alone.
        min_watch_s: least seconds.
        min_share: least share of the duration, 0 to 1.
    """

    durations: Mapping[str, float]
    min_watch_s: float = 10.0
    min_share: float = 0.5

    def __call__(self, row: Interaction) -> float:
        if not row.clicked or row.watch_s is None:
            return 0.0
        enough = self.min_share * self.durations.get(row.doc_id, float("inf"))
        return float(row.watch_s >= min(self.min_watch_s, enough))


def watch_seconds(row: Interaction) -> float:
    """Give the seconds watched; 0 without a click, or where they were not recorded."""
    return row.watch_s or 0.0


def gain_per_session(name: str, sessions: Sessions, gain: Gain) -> Statistic:
    """Give the mean over sessions of what was gained in each, such as watch time per session."""
    return mean_of(name, _totals(sessions, gain))


def gain_per_result(name: str, sessions: Sessions, gain: Gain) -> Statistic:
    """Give what was gained for each shown video, such as the click-through rate: a ratio of sums over sessions."""
    counts = np.stack([_totals(sessions, gain), [float(len(rows)) for rows in sessions.values()]], axis=1)
    return Statistic(name, counts, _ratio, len(counts))


def success_rate(name: str, sessions: Sessions, gain: Gain) -> Statistic:
    """Give the share of sessions in which anything was gained; 1 minus it is the share of abandoned ones."""
    return mean_of(name, (_totals(sessions, gain) > 0).astype(np.float64))


def _totals(sessions: Sessions, gain: Gain) -> Float64:
    return np.array([sum(map(gain, rows)) for rows in sessions.values()], dtype=np.float64)


def _ratio(sums: Float64) -> Float64:
    return np.asarray(sums[..., 0] / np.maximum(1.0, sums[..., 1]), dtype=np.float64)
