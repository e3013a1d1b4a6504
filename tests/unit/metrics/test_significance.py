"""Intervals and tests: known answers, exact enumeration, and behaviour under the null hypothesis."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.metrics.pnr import ratio
from mmsearch.metrics.significance import (
    bootstrap_intervals,
    holm,
    paired_bootstrap,
    percentile_interval,
    randomisation_test,
    resample,
)
from mmsearch.metrics.statistic import Statistic, mean_of


def pairs(counts: np.ndarray) -> Statistic:
    return Statistic("pnr", counts.astype(float), ratio, len(counts))


def test_mean_leaves_out_queries_without_a_value() -> None:
    statistic = mean_of("map", np.array([1.0, math.nan, 0.5]))
    assert (statistic.value, statistic.num_queries) == (0.75, 2)
    assert math.isnan(mean_of("map", np.array([math.nan])).value)


def test_resampling_equals_drawing_queries_one_by_one() -> None:
    counts = np.random.default_rng(3).integers(0, 9, (7, 3))
    [found] = resample([pairs(counts)], resamples=50, seed=4)
    drawn = np.random.default_rng(4).integers(7, size=(50, 7))
    assert found == pytest.approx([float(ratio(counts[rows].sum(axis=0).astype(float))) for rows in drawn])


def test_blocks_do_not_change_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    one = mean_of("map", np.random.default_rng(0).random(40))
    [whole] = resample([one], resamples=30, seed=1)
    monkeypatch.setattr("mmsearch.metrics.significance._BLOCK_CELLS", 100)
    [blocks] = resample([one], resamples=30, seed=1)
    assert blocks == pytest.approx(whole, rel=1e-12)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 2_000)
    [interval] = bootstrap_intervals([mean_of("map", values)], resamples=4_000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=0.0004)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.0004)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        [interval] = bootstrap_intervals([mean_of("map", rng.exponential(1.0, 80))], resamples=300, seed=trial)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.87 <= covered / 200 <= 0.99


def test_the_seed_decides() -> None:
    one = mean_of("map", np.random.default_rng(0).random(30))
    assert bootstrap_intervals([one], seed=1) == bootstrap_intervals([one], seed=1)
    assert bootstrap_intervals([one], seed=1) != bootstrap_intervals([one], seed=2)


def test_nothing_to_measure_has_no_interval() -> None:
    [interval] = bootstrap_intervals([mean_of("map", np.array([]))])
    assert math.isnan(interval.low)
    assert math.isnan(percentile_interval(np.array([math.nan])).high)


def test_a_paired_comparison_sees_a_small_steady_gain() -> None:
    base = np.random.default_rng(0).random(100)
    gain = base + np.random.default_rng(1).normal(0.01, 0.01, 100)
    better = paired_bootstrap(mean_of("a", gain), mean_of("b", base))
    assert better.interval.low > 0
    assert better.p_value < 0.01
    assert randomisation_test(mean_of("a", gain), mean_of("b", base), permutations=2_000) < 0.01
    same = paired_bootstrap(mean_of("a", base), mean_of("b", base))
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_randomisation_equals_all_swaps() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 6, (8, 3)), rng.integers(0, 6, (8, 3))
    found = abs(pairs(a).value - pairs(b).value)
    as_large = []
    for swap in itertools.product([False, True], repeat=8):
        one = np.where(np.array(swap)[:, None], a, b).sum(axis=0).astype(float)
        other = np.where(np.array(swap)[:, None], b, a).sum(axis=0).astype(float)
        as_large.append(abs(ratio(one) - ratio(other)) >= found - 1e-12)
    assert randomisation_test(pairs(a), pairs(b), permutations=40_000) == pytest.approx(np.mean(as_large), abs=0.01)


def test_p_values_are_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(2)
    found = []
    for trial in range(200):
        a, b = mean_of("a", rng.random(40)), mean_of("b", rng.random(40))
        found.append(randomisation_test(a, b, permutations=300, seed=trial))
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.10
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_different_queries_are_refused() -> None:
    a, b = mean_of("a", np.ones(3)), mean_of("b", np.ones(4))
    with pytest.raises(ValueError, match="different queries"):
        paired_bootstrap(a, b)
    with pytest.raises(ValueError, match="different queries"):
        randomisation_test(a, b)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_beats_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert all(p <= a <= min(1, p * len(p_values)) for p, a in zip(p_values, adjusted, strict=True))
