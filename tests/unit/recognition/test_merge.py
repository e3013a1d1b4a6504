"""The lines of many frames: repeated, misread and growing ones are kept once, in time order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.recognition.ocr.boxes import Line
from mmsearch.recognition.ocr.merge import SIMILARITY, compared, grows, merge_frames, nearly_same

WORDS = st.sampled_from(
    ["关注我", "关注我们", "第1集", "第12集", "hello", "hello wor", "hello world", "hallo world", "Now!", "now", "???"]
)
LINES = st.builds(Line, WORDS, st.sampled_from([0.7, 0.8, 0.9]))
FRAMES = st.lists(st.lists(LINES, max_size=4), max_size=8)


def merged(*frames: list[str]) -> list[str]:
    return [line.text for line in merge_frames([[Line(text, 0.9) for text in frame] for frame in frames])]


def test_what_stays_or_comes_again_is_kept_once():
    assert merged(["LOGO", "one"], ["LOGO", "two"], ["LOGO"], [], [], ["one"]) == ["LOGO", "one", "two"]
    assert merged(["Ｌogo!"], ["LOGO"]) == ["Ｌogo!"]
    assert merged() == merged([], []) == merged(["…", "—"]) == []


def test_of_two_readings_the_surer_stays_where_the_first_was():
    frames = [
        [Line("红烧内的新做法", 0.8), Line("x1", 0.9)],
        [Line("红烧肉的新做法", 0.95)],
        [Line("红晓肉的新做法", 0.7)],
    ]
    assert [line.text for line in merge_frames(frames)] == ["红烧肉的新做法", "x1"]


def test_readings_are_merged_in_successive_frames_only():
    assert merged(["hello world"], [], ["hallo world"]) == ["hello world"]
    assert merged(["hello world"], [], [], ["hallo world"]) == ["hello world", "hallo world"]


def test_a_subtitle_that_grows_or_shrinks_is_kept_whole():
    assert merged(["so we"], ["so we begin"], ["so we begin with salt"]) == ["so we begin with salt"]
    assert merged(["今天我们做菜"], ["今天我"], ["今天"]) == ["今天我们做菜"]


def test_numbers_and_lines_of_one_frame_stay_apart():
    assert merged(["第1步"], ["第2步"], ["第12步"]) == ["第1步", "第2步", "第12步"]
    assert merged(["day 1"], ["day 12"]) == ["day 1", "day 12"]
    assert merged(["option a", "option b"]) == ["option a", "option b"]
    assert merged(["hello"], ["hello world", "hello there"]) == ["hello world", "hello there"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("abcdefg", "abxdefg", True),
        ("abcdefg", "abxdyfg", False),
        ("红色机器人", "绿色机器人", False),
        ("a1bcdefg", "a2bcdefg", False),
    ],
)
def test_nearly_same(first, second, same):
    assert nearly_same(first, second) is same


def distance(first: str, second: str) -> int:
    """The naive twin: the whole table of Levenshtein's distance."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(second) + 1)] for i in range(len(first) + 1)]
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
    return table[-1][-1]


@given(st.text("abc", max_size=14), st.text("abc", max_size=14))
def test_nearly_same_is_a_bound_on_the_edit_distance(first, second):
    allowed = (1 - SIMILARITY) * max(len(first), len(second))
    assert nearly_same(first, second) is (distance(first, second) <= allowed + 1e-9)
    assert nearly_same(first, second) is nearly_same(second, first)
    assert grows(first, second) is grows(second, first)


@given(FRAMES)
def test_lines_are_verbatim_unlike_each_other_and_merging_again_changes_nothing(frames):
    result = merge_frames(frames)
    assert set(result) <= {line for frame in frames for line in frame}
    keys = [compared(line.text) for line in result]
    assert all(keys)
    assert len(set(keys)) == len(keys)
    assert merge_frames([result]) == result


@given(FRAMES.filter(bool))
def test_a_last_frame_that_stays_adds_nothing(frames):
    assert merge_frames([*frames, frames[-1], frames[-1]]) == merge_frames(frames)


@given(FRAMES)
def test_a_line_that_is_like_no_other_is_always_kept(frames):
    result = {compared(line.text) for line in merge_frames(frames)}
    keys = {compared(line.text) for frame in frames for line in frame} - {""}
    alone = {key for key in keys if not any(nearly_same(key, k) or grows(key, k) for k in keys - {key})}
    assert alone <= result
    assert bool(keys) is bool(result)


def test_hostile_frames_take_a_second_not_an_hour():
    letters = "abcdefghij" * 20
    frames = [[Line(letters[n:] + letters[:n] + str(f), 0.9) for n in range(100)] for f in range(4)]
    assert len(merge_frames(frames)) <= 400
