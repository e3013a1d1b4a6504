"""Training pairs out of a click log."""

import logging

import pytest

from mmsearch.data.interactions import click_pairs, satisfied_pairs
from mmsearch.types import Interaction

LOG = [
    Interaction("q", "long", watch_s=30.0),
    Interaction("q", "long", watch_s=300.0),
    Interaction("q", "tiny", watch_s=4.0),
    Interaction("q", "tiny", clicked=False, watch_s=99.0),
    Interaction("r", "long", watch_s=29.0),
    Interaction("r", "lost", watch_s=12.0),
    Interaction("r", "none"),
]
DURATIONS = {"long": 100.0, "tiny": 4.0, "none": 50.0}


def test_click_pairs_count_clicks_in_order() -> None:
    expected = {("q", "long"): 2, ("q", "tiny"): 1, ("r", "long"): 1, ("r", "lost"): 1, ("r", "none"): 1}
    assert list(click_pairs(LOG).items()) == list(expected.items())
    assert click_pairs([]) == {}


def test_satisfied_pairs_need_watch_time_and_completion(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mmsearch"):
        pairs = satisfied_pairs(iter(LOG), DURATIONS, min_watch_s=10, min_completion=0.3)
    # 30 s of 100 s just suffice, 29 s do not; 4 s of a 4 s video are all of it; without a duration 12 s suffice.
    assert pairs == {("q", "long"): 2, ("q", "tiny"): 1, ("r", "lost"): 1}
    assert "of 5 clicks with a watch time, 4 were satisfied" in caplog.text
    assert "1 clicks have no watch time" in caplog.text


def test_unrecorded_clicks_are_kept_on_request() -> None:
    assert ("r", "none") in satisfied_pairs(LOG, DURATIONS, keep_unrecorded=True)


def test_no_thresholds_give_all_recorded_clicks() -> None:
    recorded = [row for row in LOG if row.watch_s is not None]
    assert satisfied_pairs(recorded, DURATIONS, min_watch_s=0, min_completion=0) == click_pairs(recorded)
