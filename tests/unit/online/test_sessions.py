"""Click logs by session: what is counted, and what is refused."""

import pytest

from mmsearch.errors import DataError
from mmsearch.online import (
    LongClicks,
    by_session,
    clicks,
    credits_by_team,
    gain_per_result,
    gain_per_session,
    prefer,
    split_arms,
    success_rate,
    watch_seconds,
)
from mmsearch.types import Interaction

LOG = [
    Interaction("q", "a", None, 1, True, 4.0, "s1"),
    Interaction("q", "b", None, 2, False, None, "s1"),
    Interaction("q", "c", None, 1, False, None, "s2"),
    Interaction("r", "a", None, 1, True, 30.0, "s1"),
    Interaction("q", "c", None, 1, True, None, "s3"),
]


def test_rows_are_grouped_by_session() -> None:
    sessions = by_session(LOG)
    assert {name: len(rows) for name, rows in sessions.items()} == {"s1": 3, "s2": 1, "s3": 1}
    with pytest.raises(DataError, match="row 2 of the click log has no session_id"):
        by_session([LOG[0], Interaction("q", "a")])


def test_measures_of_sessions() -> None:
    sessions = by_session(LOG)
    assert gain_per_result("ctr", sessions, clicks).value == 3 / 5
    assert gain_per_session("clicks", sessions, clicks).value == 1.0
    assert gain_per_session("watch", sessions, watch_seconds).value == 34 / 3
    assert success_rate("success", sessions, clicks).value == 2 / 3


def test_long_clicks() -> None:
    long = LongClicks({"a": 10.0}, min_watch_s=20.0, min_share=0.5)
    assert [long(row) for row in LOG] == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert [LongClicks({"a": 6.0}, min_share=0.5)(row) for row in LOG] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert [LongClicks({}, min_watch_s=4.0)(row) for row in LOG] == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_credit_goes_to_the_team_of_the_session_and_query() -> None:
    teams = {("s1", "q", "a"): "x", ("s1", "r", "a"): "y", ("s3", "q", "c"): "z", ("s2", "q", "c"): "x"}
    with pytest.raises(DataError, match=r"no shown video of \d+ sessions is owed to any of X, Y"):
        credits_by_team(by_session(LOG), teams, ["X", "Y"], watch_seconds)
    assert credits_by_team({}, {}, ["x"], watch_seconds).shape == (0, 1)
    credit = credits_by_team(by_session(LOG), teams, ["x", "y"], watch_seconds)
    assert credit.tolist() == [[4.0, 30.0], [0.0, 0.0], [0.0, 0.0]]
    found = prefer("x", "y", credit[:, 0], credit[:, 1], resamples=50)
    assert (found.wins_a, found.wins_b, found.ties, found.preference) == (0, 1, 2, -1 / 3)


def test_arms_of_sessions() -> None:
    sessions = by_session(LOG)
    split = split_arms(sessions, {"s1": "x", "s2": "y", "s3": "x"})
    assert {arm: list(part) for arm, part in split.items()} == {"x": ["s1", "s3"], "y": ["s2"]}
    with pytest.raises(DataError, match="session 's2' has no arm"):
        split_arms(sessions, {"s1": "x"})
