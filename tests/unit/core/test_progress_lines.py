"""How far a long job is, where no terminal shows its bar."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from mmsearch import logs


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch, caplog):
    monkeypatch.setattr(logs, "console", Console(file=io.StringIO()))
    caplog.set_level("INFO")
    return caplog


def told(lines):
    return [record.getMessage() for record in lines.records if record.name == "mmsearch.logs"]


def test_a_line_every_so_often_with_rate_and_time_left(clock, lines):
    with logs.progress("embed", 5000, unit="videos") as bar:
        bar.skip(1000)
        for _ in range(61):
            clock[0] += 1
            bar.advance(20)
    assert told(lines) == [
        "embed: 1,600 of 5,000 videos, 20.0 a second, about 2 min 50 s left",
        "embed: 2,200 of 5,000 videos, 20.0 a second, about 2 min 20 s left",
    ]
    assert lines.records[0].levelno == logging.INFO
    first = {"job": "embed", "done": 1600.0, "total": 5000, "unit": "videos", "per_s": 20.0, "left_s": 170.0}
    assert lines.records[0].fields == first


def test_slow_jobs_have_a_rate_and_minutes_sixty_seconds(clock, lines):
    with logs.progress("compare", 3, unit="runs") as bar:
        clock[0] += 59.9
        bar.advance(1)
    assert told(lines) == ["compare: 1 of 3 runs, 0.017 a second, about 2 min 00 s left"]


def test_the_rate_is_that_since_the_line_before(clock, lines, monkeypatch):
    monkeypatch.setattr(logs, "LINE_EVERY_S", 5.0)
    with logs.progress("prepare", None, unit="videos") as bar:
        for count in (10, 20):
            clock[0] += 5
            bar.advance(count)
    assert told(lines) == ["prepare: 10 videos, 2.0 a second", "prepare: 30 videos, 4.0 a second"]
    assert lines.records[0].fields["left_s"] is None


def test_short_jobs_jobs_with_lines_of_their_own_and_other_ranks_are_silent(clock, lines, monkeypatch):
    with logs.progress("short", 9) as bar:
        clock[0] += logs.LINE_EVERY_S - 1
        bar.advance(9)
    with logs.progress("follow", None, logged=False) as bar:
        clock[0] += 1000
        bar.advance()
    monkeypatch.setenv("RANK", "1")
    with logs.progress("fit", 9) as bar:
        clock[0] += 1000
        bar.advance()
    assert told(lines) == []


def test_on_a_terminal_the_bar_is_enough(clock, lines, monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(logs, "console", Console(file=text, force_terminal=True, width=100))
    with logs.progress("embed", 9) as bar:
        clock[0] += 1000
        bar.advance()
    assert told(lines) == []
    assert "embed" in text.getvalue()
