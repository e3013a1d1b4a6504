"""Systems compared: each comparison as if made alone, all of them corrected together, and the power that is claimed."""

import json
import math

import numpy as np
import pytest

from mmsearch.errors import ConfigError
from mmsearch.metrics.contrasts import Contrast, contrast
from mmsearch.metrics.measures import Table
from mmsearch.metrics.results import Evaluation, evaluate
from mmsearch.metrics.scored import Scored
from mmsearch.metrics.significance import (
    Interval,
    detectable_difference,
    holm,
    paired_bootstrap,
    randomisation_test,
    randomisation_tests,
    resample,
)
from mmsearch.metrics.statistic import mean_of
from mmsearch.metrics.tables import contrast_json, contrast_rows, family_lines, power_lines

MEASURES = ["pnr", "ndcg_exp@3", "mrr"]
NOISE = {"worst": 3.0, "good": 0.1, "middling": 1.0}


@pytest.fixture(scope="module")
def evaluations() -> list[Evaluation]:
    """Three systems: the grade with more or less noise on it."""
    rng = np.random.default_rng(0)
    queries = [f"q{i // 6}" for i in range(360)]
    grades = rng.integers(0, 3, 360)
    return [
        evaluate(
            name,
            Table(Scored.from_columns(queries, list(map(str, range(360))), grades, grades + rng.normal(0, noise, 360))),
            MEASURES,
            resamples=500,
            seed=7,
        )
        for name, noise in NOISE.items()
    ]


def by_pair(contrasts: list[Contrast]) -> dict[tuple[str, str, str], Contrast]:
    return {(one.measure, one.a, one.b): one for one in contrasts}


def test_every_pair_by_every_measure_as_if_compared_alone(evaluations: list[Evaluation]) -> None:
    found = contrast(evaluations, permutations=3_000, seed=5)
    assert [(one.a, one.b) for one in found[::3]] == [("worst", "good"), ("worst", "middling"), ("good", "middling")]
    assert [one.measure for one in found] == MEASURES * 3
    of = {one.name: one.statistics for one in evaluations}
    for one in found:
        a, b = of[one.a][MEASURES.index(one.measure)], of[one.b][MEASURES.index(one.measure)]
        alone = paired_bootstrap(a, b, resamples=500, seed=7)
        assert one.difference == alone.difference
        assert (one.interval.low, one.interval.high) == pytest.approx((alone.interval.low, alone.interval.high))
        assert one.p_value == randomisation_test(a, b, permutations=3_000, seed=5)
        assert one.num_queries == a.num_queries
    assert [one.p_holm for one in found] == holm([one.p_value for one in found])


def test_beside_the_best_the_correction_is_for_all_pairs(evaluations: list[Evaluation]) -> None:
    everything = by_pair(contrast(evaluations, permutations=3_000))
    found = contrast(evaluations, "best", permutations=3_000)
    assert {(one.a, one.b) for one in found} == {("good", "worst"), ("good", "middling")}
    for one in found:
        assert one.difference > 0
        twin = everything.get((one.measure, one.a, one.b)) or everything[one.measure, one.b, one.a]
        assert (one.p_value, one.p_holm) == (twin.p_value, twin.p_holm)


def test_beside_a_named_one_it_is_the_baseline(evaluations: list[Evaluation]) -> None:
    found = contrast(evaluations, "middling", permutations=2_000)
    assert [(one.a, one.b) for one in found[::3]] == [("worst", "middling"), ("good", "middling")]
    assert found[0].difference < 0 < found[3].difference
    assert [one.p_holm for one in found] == holm([one.p_value for one in found])


def test_by_the_first_measures_alone(evaluations: list[Evaluation]) -> None:
    found = contrast(evaluations, measures=1, permutations=1_000)
    assert [one.measure for one in found] == ["pnr"] * 3
    assert [one.p_holm for one in found] == holm([one.p_value for one in found])


def test_what_cannot_be_compared(evaluations: list[Evaluation]) -> None:
    assert contrast(evaluations[:1]) == []
    with pytest.raises(ConfigError, match="cannot compare with 'bset'; write all, best, none, or one of: worst, good"):
        contrast(evaluations[:2], "bset")
    other = evaluate("other", Table(Scored.from_columns("q", "a", [1], [1.0])), MEASURES)
    with pytest.raises(ValueError, match="different queries"):
        contrast([evaluations[0], other])


def test_enough_swaps_for_a_large_family(evaluations: list[Evaluation]) -> None:
    """With 9 comparisons, 10 swaps could never bring a corrected p-value below 0.05."""
    assert min(one.p_holm for one in contrast(evaluations, permutations=10)) < 0.01


def test_an_undefined_measure_is_no_evidence() -> None:
    table = Table(Scored.from_columns("qr", "ab", [0, 0], [0.1, 0.2]))
    [one] = contrast([evaluate("a", table, ["map"]), evaluate("b", table, ["map"])], permutations=100)
    assert math.isnan(one.difference)
    assert (one.p_value, one.is_significant) == (1.0, False)
    row = contrast_json(one)
    assert (row["difference"], row["low"], row["detectable"], row["queries_needed"]) == (None, None, None, None)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert contrast_rows([one])[1] == [["a − b", "map", "–", "– … –", "1.0000", "1.0000", "–"]]
    assert power_lines([one]) == []


def test_equal_systems(evaluations: list[Evaluation]) -> None:
    for one in contrast([evaluations[0], evaluations[0]], permutations=100):
        assert (one.difference, one.p_value, one.p_holm, one.detectable) == (0.0, 1.0, 1.0, 0.0)
        assert contrast_json(one)["queries_needed"] is None


def test_many_tests_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(1)
    systems = [[mean_of(m, rng.random(30)) for m in ("x", "y")] for _ in range(4)]
    pairs = [(0, 1), (3, 2), (1, 3)]
    alone = [[randomisation_test(systems[i][m], systems[j][m], permutations=500) for m in (0, 1)] for i, j in pairs]
    assert randomisation_tests(systems, pairs, permutations=500) == alone


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    queries, spread = 120, 0.3
    base = rng.random((150, queries))
    gaps = rng.normal(0.0, spread, (150, queries))
    [of_gap, of_none] = resample([mean_of("a", base[0] + gaps[0]), mean_of("b", base[0])], resamples=2_000)
    detectable = detectable_difference(of_gap - of_none)
    assert detectable == pytest.approx(2.8016 * spread / math.sqrt(queries), rel=0.15)
    exact = 2.8016 * spread / math.sqrt(queries)
    found = [
        randomisation_test(mean_of("a", b + g + exact), mean_of("b", b), permutations=400) <= 0.05
        for b, g in zip(base, gaps, strict=True)
    ]
    assert 0.72 <= np.mean(found) <= 0.88


def test_queries_needed_grow_with_the_square() -> None:
    one = Contrast("pnr", "a", "b", 0.05, Interval(-0.1, 0.2), 0.3, 0.3, 0.2, 100)
    assert one.queries_needed == pytest.approx(1_600)


def test_the_power_note_names_what_the_queries_are_too_few_for() -> None:
    def made(measure: str, difference: float, p: float, detectable: float) -> Contrast:
        return Contrast(measure, "a", "b", difference, Interval(0, 0), p, p, detectable, 80)

    shown = made("pnr", 0.30, 0.01, 0.2)
    small = made("pnr", 0.05, 0.40, 0.2)
    none = made("map", 0.0, 1.0, 0.1)
    assert power_lines([shown]) == []
    assert power_lines([shown, small]) == [
        "pnr: 80 queries are too few (power 0.8) for a − b (+0.0500, where they show 0.2 or more; needs about 1,300)"
    ]
    [line] = power_lines([none] * 5)
    equal = "a − b (+0.0000, where they show 0.1 or more)"
    assert line == f"map: 80 queries are too few (power 0.8) for {equal}; {equal}; {equal}; and 2 more"


def test_each_comparison_has_its_own_power() -> None:
    """What one pair of systems would show says nothing of another pair."""
    made = [Contrast("pnr", "a", b, 0.4, Interval(0, 1), 0.3, 0.3, d, 80) for b, d in (("b", 0.7), ("c", 0.45))]
    [line] = power_lines(made)
    assert "a − b (+0.4000, where they show 0.7 or more" in line
    assert "a − c (+0.4000, where they show 0.45 or more" in line


def test_what_has_no_score_is_no_comparison(evaluations: list[Evaluation]) -> None:
    scored = Scored.from_columns(["q0", "q0"], "ab", [0, 1], [0.1, 0.2])
    queries = [f"q{i // 6}" for i in range(360)]
    without = Table(
        Scored.from_columns(queries, list(map(str, range(360))), [i % 3 for i in range(360)], [np.nan] * 360)
    )
    nothing = evaluate("nothing", without, MEASURES, resamples=500, seed=7)
    assert (nothing.has_scores, evaluate("a", Table(scored), ["pnr"]).has_scores) == (False, True)
    for which in ("all", "best", "good"):
        alone = contrast(evaluations, which, permutations=1_000)
        assert contrast([*evaluations, nothing], which, permutations=1_000) == alone
    assert contrast([*evaluations, nothing], "nothing") == []
    assert contrast([evaluations[0], nothing], "best") == []


def test_the_family_is_told_where_it_is_not_what_is_shown(evaluations: list[Evaluation]) -> None:
    every = contrast(evaluations, measures=1, permutations=500)
    assert [(one.family_size, contrast_json(one)["family_size"]) for one in every] == [(3, 3)] * 3
    best = contrast(evaluations, "best", measures=1, permutations=500)
    assert [one.family_size for one in best] == [3, 3]
    assert family_lines(best) == [
        "p (Holm) is p corrected for 3 comparisons (all pairs of 3; the best was found by looking at them all)"
    ]
    assert (family_lines(every), family_lines([])) == ([], [])
    named = contrast(evaluations, "good", permutations=500)
    assert [one.family_size for one in named] == [6] * 6
    assert family_lines([*every, *named]) == [
        "p (Holm) is p corrected for 3 comparisons (all pairs of 3) and, apart from them, for 6 comparisons "
        "(each other with 'good', by 3 measures)"
    ]
