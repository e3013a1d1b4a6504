"""Boxes become lines in reading order; what is too small or unsure is dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.protocols import TextBox
from mmsearch.recognition.ocr.boxes import keep_legible, letter_height, read_lines


def box(text: str, left: float, top: float, width: float = 60, height: float = 20, sure: float = 0.9) -> TextBox:
    right, bottom = left + width, top + height
    return TextBox(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32), text, sure)


def texts(boxes) -> list[str]:
    return [line.text for line in read_lines(boxes)]


def test_lines_from_top_to_bottom_and_boxes_from_left_to_right():
    boxes = [box("world", 100, 13), box("below", 0, 40), box("hello", 0, 10), box("again", 200, 8)]
    assert texts(boxes) == ["hello world again", "below"]
    assert texts([]) == []


def test_a_line_that_slopes_is_one_line():
    assert texts([box("a", 0, 10), box("b", 70, 14), box("c", 140, 18)]) == ["a b c"]


def test_columns_are_read_one_after_the_other():
    left = [box(f"l{n}", 0, 40 + 30 * n) for n in range(4)]
    right = [box(f"r{n}", 200, 42 + 30 * n) for n in range(4)]
    title, foot = box("title over both", 20, 0, width=220), box("foot under both", 10, 180, width=240)
    expected = ["title over both", "l0", "l1", "l2", "l3", "r0", "r1", "r2", "r3", "foot under both"]
    assert texts([foot, *right, title, *left]) == expected


def test_columns_of_other_pitch_and_three_of_them():
    left = [box(f"l{n}", 0, 25 * n) for n in range(4)]
    right = [box(f"r{n}", 200, 7 + 33 * n) for n in range(3)]
    assert texts([*left, *right]) == ["l0", "l1", "l2", "l3", "r0", "r1", "r2"]
    three = [box(f"{column}{n}", 150 * "abc".index(column), 30 * n) for n in range(3) for column in "abc"]
    assert texts(three) == [f"{column}{n}" for column in "abc" for n in range(3)]


def test_two_rows_or_a_narrow_gap_are_no_columns():
    rows = [box(f"{side}{n}", x, 30 * n) for n in range(2) for side, x in (("l", 0), ("r", 200))]
    assert texts(rows) == ["l0 r0", "l1 r1"]
    near = [box(f"{side}{n}", x, 30 * n) for n in range(4) for side, x in (("l", 0), ("r", 70))]
    assert texts(near) == ["l0 r0", "l1 r1", "l2 r2", "l3 r3"]


def test_confidence_of_a_line_is_weighted_by_characters():
    (line,) = read_lines([box("abc", 0, 0, sure=0.8), box("d", 70, 0, sure=0.4)])
    assert line.confidence == pytest.approx(0.7)


def test_small_unsure_and_empty_boxes_are_dropped():
    boxes = [
        box("fine", 0, 0),
        box("low", 0, 30, height=3),
        box("unsure", 0, 60, sure=0.69),
        box("  ", 0, 90),
        box("upright", 100, 0, width=20, height=90),
    ]
    kept = keep_legible(boxes, (360, 200), min_confidence=0.7, min_height=0.05)
    assert [b.text for b in kept] == ["fine", "upright"]


def test_the_height_of_letters_does_not_depend_on_the_angle():
    flat = box("x", 0, 0, width=80, height=10).corners
    for degrees in (0, 30, 90, 135):
        angle = np.radians(degrees)
        turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))], np.float32)
        assert letter_height(TextBox(flat @ turn.T, "x", 1.0)) == pytest.approx(10, abs=1e-3)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), unique=True, max_size=30),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_the_order_given_does_not_matter(cells, chance):
    boxes = [box(f"{x}.{y}", 100 * x, 30 * y, width=60 + 35 * (x % 2)) for x, y in cells]
    ordered = texts(boxes)
    assert sorted(" ".join(ordered).split()) == sorted(b.text for b in boxes)
    chance.shuffle(boxes)
    assert texts(boxes) == ordered


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(10, 400)), unique_by=lambda c: c[0] // 40, max_size=12))
def test_one_column_is_sorted_by_height(rows):
    boxes = [box(f"t{top // 40}", 5, 40 * (top // 40), width=width) for top, width in rows]
    assert texts(boxes) == [b.text for b in sorted(boxes, key=lambda b: float(b.corners[0, 1]))]
