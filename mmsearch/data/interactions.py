"""From a click log to training pairs: weak labels for the perception domain and for the content domain.

A click says that a searcher *expected* the video to fit: it is a label for what is seen before the click (title,
account, cover). Whether the content fitted shows in how long it was watched; hence the second, narrower set.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from mmsearch.types import Interaction

#: (query, doc_id) -> how many clicks support the pair; in the order of the first supporting click.
Pairs = dict[tuple[str, str], int]

_log = logging.getLogger(__name__)


def click_pairs(interactions: Iterable[Interaction]) -> Pairs:
    """Give the pairs that were clicked at least once.

    Impressions that were not clicked support nothing and contradict nothing: a video clicked once and passed over ten
    times is a pair with count 1.

    See also:
        satisfied_pairs: the clicks after which the video was watched.
    """
    pairs: Pairs = {}
    for row in interactions:
        if row.clicked:
            pairs[row.query, row.doc_id] = pairs.get((row.query, row.doc_id), 0) + 1
    return pairs


def satisfied_pairs(
    interactions: Iterable[Interaction],
    durations: Mapping[str, float],
    *,
    min_watch_s: float = 10.0,
    min_completion: float = 0.3,
    keep_unrecorded: bool = False,
) -> Pairs:
    """Give the pairs with at least one satisfied click: clicks filtered by watch time and completion rate.

    A click is satisfied when `watch_s >= min(min_watch_s, duration)` and `watch_s / duration >= min_completion`: a
    video shorter than `min_watch_s` must be watched once to its end. Watch time beyond the duration (replays) counts.
    Where the duration is unknown or 0, the watch time alone decides.

    Args:
        interactions: the click log.
        durations: seconds by doc_id (`duration_s` of the videos table, or read from the media).
        min_watch_s: least watch time in seconds.
        min_completion: least share of the video watched, 0 to 1.
        keep_unrecorded: keep clicks whose watch time was not recorded (a log without `watch_s` then gives the same as
            `click_pairs`). The number of such clicks left out is logged.

    See also:
        click_pairs: every click.
    """
    pairs: Pairs = {}
    verdicts: Counter[str] = Counter()
    for row in interactions:
        if not row.clicked:
            continue
        verdict = _verdict(row.watch_s, durations.get(row.doc_id) or 0.0, min_watch_s, min_completion)
        verdicts[verdict] += 1
        if verdict == "satisfied" or (keep_unrecorded and verdict == "unrecorded"):
            pairs[row.query, row.doc_id] = pairs.get((row.query, row.doc_id), 0) + 1
    _report(verdicts, keep_unrecorded)
    return pairs


def _verdict(watch_s: float | None, duration_s: float, min_watch_s: float, min_completion: float) -> str:
    if watch_s is None:
        return "unrecorded"
    if duration_s <= 0:
        return "satisfied" if watch_s >= min_watch_s else "short"
    enough = watch_s >= min(min_watch_s, duration_s) and watch_s >= min_completion * duration_s
    return "satisfied" if enough else "short"


def _report(verdicts: Counter[str], keep_unrecorded: bool) -> None:
    recorded = verdicts["satisfied"] + verdicts["short"]
    if recorded:
        _log.info("of %d clicks with a watch time, %d were satisfied", recorded, verdicts["satisfied"])
    if verdicts["unrecorded"] and keep_unrecorded:
        _log.info("%d clicks have no watch time; they count as satisfied", verdicts["unrecorded"])
    elif verdicts["unrecorded"]:
        left_out = "%d clicks have no watch time; they were left out (keep_unrecorded keeps them)"
        _log.warning(left_out, verdicts["unrecorded"])
