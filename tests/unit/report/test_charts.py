"""Charts: round ticks, values at their place, labels that do not lie on each other."""

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.report.charts import Bar, Line, Mark, forest, lines, reliability, ridges, shares, span_of, widest
from mmsearch.report.charts.axis import Axis, label, linear_ticks, log_ticks
from mmsearch.report.curves import Curve, Stage
from mmsearch.report.spread import Histogram, Spread, Tenth

NAN = float("nan")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 8))
def test_linear_ticks_lie_within_and_are_few(low, width, count):
    ticks = linear_ticks(low, low + width, count)
    assert len(ticks) <= count + 1
    assert all(low - width * 1e-6 <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(st.floats(1e-3, 1e3), st.floats(1.2, 1e4), st.integers(3, 8))
def test_log_ticks_lie_within_and_are_few(low, ratio, count):
    ticks = log_ticks(low, low * ratio, count)
    assert len(ticks) <= count + 1
    assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0"), (1.5, "1.5"), (-0.25, "−0.25"), (2e-4, "2e-4"), (12_000, "12k"), (3e6, "3e6")]
)
def test_labels_are_short(value, written):
    assert label(value) == written


def test_axes_are_straight_or_by_ratio_and_end_where_they_end():
    assert Axis(0, 10, 0, 100)(2.5) == 25
    assert Axis(1, 4, 0, 100, log=True)(2) == pytest.approx(50)
    assert Axis(0, 10, 100, 0)(12) == 0


def mark(name, value, low=NAN, high=NAN):
    return Mark(name, value, low, high, f"{value:.2f}", "c0")


def test_forest_shows_values_intervals_and_what_is_beyond():
    marks = [mark("a", 1.0, 0.9, 1.1), mark("b", 2.0, 1.0, 400.0), mark("none", NAN)]
    span = span_of(marks, "PNR", 1.0, "chance", log=True)
    drawn = forest("chart", marks, span).text
    assert span.high < 10  # one wide interval does not press all others together
    assert len(re.findall("<circle", drawn)) == 2
    assert len(re.findall('class="arrow c0"', drawn)) == 1
    assert "a 1.00; b 2.00; none nan" in drawn.partition("</title>")[0]


def test_the_reference_is_always_on_the_axis():
    for log in (False, True):
        span = span_of([mark("a", 5.0, 4.0, 6.0)], "PNR", 1.0, "chance", log=log)
        assert span.low < 1.0 < 6.0 < span.high
        empty = span_of([], "PNR", 1.0, "chance", log=log)
        assert empty.low < 1.0 < empty.high


def test_long_labels_do_not_run_into_numbers():
    drawn = forest("chart", [mark("w" * 200, 1.0)], span_of([mark("", 1.0)], "t", 1.0, "r")).text
    shown = re.findall('class="label">(w+…)<', drawn)
    assert len(shown) == 1
    assert len(shown[0]) < 60


def test_shares_are_bars_from_zero_beside_their_references():
    bars = [Bar("a", 0.5, 0.4, 0.6, "50%", 0.25, 0.75), Bar("b", 0.25, NAN, NAN, "25%", 0.25, NAN)]
    drawn = shares("chart", bars, widest(bars)).text
    first, second = (float(width) for width in re.findall(r'width="([\d.]+)" height="8"', drawn))
    assert first == pytest.approx(2 * second)
    assert [len(re.findall(f'class="{kind}"', drawn)) for kind in ("between", "even", "by-tokens")] == [1, 2, 1]
    ring, stroke = re.search(r'cx="([\d.]+)"', drawn)[1], re.search(r'd="M([\d.]+) [\d.]+v14" class="even"', drawn)[1]
    assert (float(ring) - 12) / (float(stroke) - 12) == pytest.approx(3, rel=0.01)
    assert "a 50%; b 25%" in drawn.partition("</title>")[0]
    assert "ring" in drawn


def test_shares_of_nothing_are_drawn_without_bars():
    bars = [Bar("a", NAN, NAN, NAN, "no videos", NAN, NAN)]
    drawn = shares("chart", bars, widest(bars)).text
    assert "no videos" in drawn
    assert "nan" not in drawn
    assert "ring" not in drawn
    assert not re.search('class="(bar|even|between)"', drawn)
    assert widest([]) == 0.1
    assert widest([Bar("a", 0.5, 0.1, 7.0, "", 0.2, 0.2)]) == 1.0


def curve(*values):
    return Curve(tuple(range(10, 10 * len(values) + 1, 10)), values)


def test_names_of_curves_are_pushed_apart():
    drawn = lines("chart", [Line(f"n{i}", curve(1.0, 1.0), "c0") for i in range(8)], [Stage("only", 0, 20)]).text
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" class="name', drawn)]
    assert len(heights) == 8
    assert all(b - a >= 11.9 for a, b in itertools.pairwise(heights))


def test_names_of_stages_stand_in_the_chart_and_not_on_each_other():
    stages = [Stage("a long name of a stage", 0, 2), Stage("another", 2, 4), Stage("<b>", 4, 100)]
    drawn = lines("chart", [Line("n", curve(*range(1, 11)), "c0")], stages).text
    found = re.findall(r'x="([\d.]+)" y="([\d.]+)" class="stage">([^<]*)<', drawn)
    assert [name for _, _, name in found] == ["a long name of a stage", "another", "&lt;b&gt;"]
    assert len({y for _, y, _ in found[:2]}) == 2  # both start at the left: two lines


def test_one_value_all_along_is_drawn():
    assert "NaN" not in lines("chart", [Line("n", curve(0.0, 0.0), "c0")], []).text


def spread(tenths, histograms):
    return Spread(0.0, 1.0, tuple(histograms), tuple(tenths), 1.0)


def test_distributions_and_reliability_are_drawn_even_where_there_is_nothing():
    empty = Histogram(3, 0, 5, NAN, (0.0,) * 4)
    some = Histogram(0, 4, 0, 0.6, (0.0, 0.5, 0.5, 0.0))
    drawn = ridges("chart", spread([], [empty, some])).text
    assert "grade 3 median none; grade 0 median 0.60" in drawn
    assert len(re.findall('class="median"', drawn)) == 1
    tenths = [Tenth(0.0, 0.5, 1.0, NAN, NAN, 3), Tenth(0.5, 1.0, 2.0, 1.5, 2.5, 3)]
    drawn = reliability("chart", spread(tenths, []), "c1").text
    assert len(re.findall("<circle", drawn)) == 2
    assert len(re.findall('class="whisker c1"', drawn)) == 1
    assert not math.isnan(float(re.search(r'cy="([^"]+)"', drawn)[1]))
