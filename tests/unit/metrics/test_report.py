"""The report: JSON that any parser takes, tables of text, and the breakdown by grades."""

import json

import numpy as np
import pytest

from mmsearch.metrics.inputs import Input
from mmsearch.metrics.measures import Table
from mmsearch.metrics.pnr import count_pairs
from mmsearch.metrics.report import default_relevant, measure, note_lines, oddity_lines, report_json, report_tables
from mmsearch.metrics.results import by_grade, evaluate, evaluate_mean
from mmsearch.metrics.scored import Scored

SCORED = Scored.from_columns("qqqrr", "abcab", [2, 0, 1, 1, 0], [0.9, 0.8, 0.7, np.nan, 0.2])
EMPTY = Scored.from_columns("q", "a", [0], [0.5])


def test_an_evaluation_holds_value_interval_and_pairs() -> None:
    found = evaluate("cover", Table(SCORED), ["pnr", "mrr"])
    pnr, mrr = found.results
    assert (found.num_queries, found.num_judged, found.missing) == (2, 5, 0.2)
    assert (pnr.value, pnr.num_queries) == (1.0, 2)
    assert (pnr.pairs.concordant, pnr.pairs.discordant, pnr.pairs.tied) == (2, 2, 0)
    assert pnr.interval.low <= pnr.value <= pnr.interval.high
    assert (mrr.value, mrr.pairs) == (0.5, None)


def test_grade_pairs_add_up_to_the_whole() -> None:
    found = by_grade(Table(SCORED))
    assert [one.name for one in found] == ["2>1", "2>0", "1>0"]
    sums = np.sum([(one.pairs.concordant, one.pairs.discordant, one.pairs.tied) for one in found], axis=0)
    assert tuple(sums.tolist()) == count_pairs(SCORED).totals


def test_json_is_strict_and_nested() -> None:
    inputs = [Input("a", None, SCORED, {"repeated": 1}), Input("a", "news", EMPTY, {})]
    whole = report_json(measure(inputs, ["pnr", "map"], relevant=1, grade_pairs=True), "run")
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert (set(whole), whole["comparisons"]) == ({"runs", "comparisons"}, [])
    report = whole["runs"]
    assert set(report["a"]["pnr"]) == {"value", "low", "high", "concordant", "discordant", "tied", "num_queries"}
    assert report["a"]["by_grade"]["2>0"]["concordant"] == 1
    assert report["a"]["groups"]["news"]["map"] == {"value": None, "low": None, "high": None, "num_queries": 0}
    assert report["a"]["oddities"] == {"repeated": 1}


def test_tables_of_text() -> None:
    measured = measure([Input("a", None, SCORED, {}), Input("b", None, EMPTY, {})], ["pnr", "map"], relevant=1)
    [(head, rows)] = report_tables(measured, "feature")
    assert head == ["feature", "pnr", "95 %", "map", "queries", "missing"]
    assert rows[0][0] == "a"
    assert rows[0][-2:] == ["2", "20.0%"]
    assert rows[0][3] == "0.4167 ± 0.4167"
    assert rows[1] == ["b", "–", "– … –", "–", "1", "0.0%"]
    [(narrow, long)] = report_tables(measured, "feature", width=60)
    assert narrow == ["feature", "measure", "value", "95 %", "queries", "missing"]
    assert [row[:2] for row in long] == [["a", "pnr"], ["a", "map"], ["b", "pnr"], ["b", "map"]]
    assert (long[1][2:], long[3][2:]) == (
        ["0.4167", "0.0000 … 0.8333", "2", "20.0%"],
        ["–", "– … –", "0", "0.0%"],
    )
    with_grades = report_tables(measure([Input("a", None, SCORED, {})], ["map"], relevant=1, grade_pairs=True), "run")
    assert with_grades[1][0] == ["run", "grades", "pnr", "95 %", "concordant", "discordant", "tied"]
    assert [row[1] for row in with_grades[1][1]] == ["2>1", "2>0", "1>0"]


def test_it_is_said_on_how_many_queries_a_measure_rests() -> None:
    rows = Scored.from_columns("qqrs", "abab", [2, 0, 2, 0], [0.9, 0.8, 0.7, 0.6])
    [line] = note_lines(measure([Input("a", None, rows, {})], ["pnr", "map", "pair_accuracy"], relevant=1))
    assert line.startswith("pnr, pair_accuracy: on 1; map: on 2 of 3 judged queries; the others have no pair")
    assert note_lines(measure([Input("a", None, SCORED, {})], ["pnr"], relevant=1)) == []


def test_what_has_no_score_is_named() -> None:
    nothing = SCORED.with_scores(np.full(5, np.nan))
    measured = measure([Input("a", None, SCORED, {}), Input("b", None, nothing, {})], ["pnr"], relevant=1)
    assert note_lines(measured) == ["b: without any score: no PNR, and in no comparison"]


def test_oddities_are_said_once_when_all_agree() -> None:
    odd = [{"repeated": 2, "unjudged": 1}, {"repeated": 2, "unjudged": 0}]
    measured = measure([Input(n, None, SCORED, o) for n, o in zip("ab", odd, strict=True)], ["map"], relevant=1)
    repeated, unjudged = oddity_lines(measured)
    assert repeated.startswith("2 judgments whose")
    assert unjudged.startswith("a: 1 scored rows")


@pytest.mark.parametrize(("grades", "least"), [([2, 0], 2), ([1, 0], 1), ([0, 0], 1)])
def test_relevant_by_default(grades: list[int], least: int) -> None:
    assert default_relevant([Input("a", None, Scored.from_columns("qq", "ab", grades, [1.0, 2.0]), {})]) == least


def test_several_models_together_are_the_mean_of_each_query() -> None:
    tables = [Table(SCORED), Table(SCORED.with_scores(np.array([0.1, 0.2, 0.3, 0.4, 0.5])))]
    each = [evaluate("a", table, ["pnr", "mrr"]) for table in tables]
    both = evaluate_mean("both", tables, ["pnr", "mrr"])
    pairs = [one.results[0].pairs for one in each]
    right = sum(one.concordant + one.tied / 2 for one in pairs)
    wrong = sum(one.discordant + one.tied / 2 for one in pairs)
    assert both.results[0].value == pytest.approx(right / wrong)
    assert both.results[0].pairs.concordant == sum(one.concordant for one in pairs)
    assert both.results[1].value == pytest.approx(np.mean([one.results[1].value for one in each]))
    assert both.missing == pytest.approx(0.1)
    alone = evaluate_mean("a", tables[:1], ["pnr", "mrr"])
    assert alone.results == each[0].results
    np.testing.assert_array_equal(alone.samples, each[0].samples)
