"""Measures of ranked lists against their definitions written as loops, and the laws that they obey."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.metrics import ranking as measures
from mmsearch.metrics.ranking import Ranking
from mmsearch.metrics.scored import UNJUDGED, Scored

Row = tuple[str, int, float]
SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(), st.just(math.nan))
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(UNJUDGED, 3), SCORES), min_size=1, max_size=25)
CUTS = st.one_of(st.none(), st.integers(1, 8))


def table(rows: list[Row]) -> Scored:
    queries, grades, scores = ([row[i] for row in rows] for i in range(3))
    return Scored.from_columns(queries, [f"d{i}" for i in range(len(rows))], grades, scores)


def lists(rows: list[Row]) -> dict[str, tuple[list[int], list[int]]]:
    """Give the grades of the retrieved documents in the order of their ranks, and all grades, of every query."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for query in dict.fromkeys(row[0] for row in rows):
        own = [(s, f"d{i}", max(0, g)) for i, (q, g, s) in enumerate(rows) if q == query]
        ranked = sorted((row for row in own if math.isfinite(row[0])), reverse=True)
        found[query] = [g for _, _, g in ranked], [g for _, _, g in own]
    return found


def naive_ndcg(ranked: list[int], grades: list[int], k: int | None, exponential: bool) -> float:
    def dcg(order: list[int]) -> float:
        return sum((2**g - 1 if exponential else g) / math.log2(i + 2) for i, g in enumerate(order[:k]))

    ideal = dcg(sorted(grades, reverse=True))
    return dcg(ranked) / ideal if ideal else math.nan


def naive_map(ranked: list[int], grades: list[int], k: int | None, relevant: int) -> float:
    good = [g >= relevant for g in ranked][:k]
    number = sum(g >= relevant for g in grades)
    return sum(sum(good[: i + 1]) / (i + 1) for i in range(len(good)) if good[i]) / number if number else math.nan


def naive_mrr(ranked: list[int], grades: list[int], k: int | None, relevant: int) -> float:
    if not any(g >= relevant for g in grades):
        return math.nan
    return next((1 / (i + 1) for i, g in enumerate(ranked[:k]) if g >= relevant), 0.0)


def naive_recall(ranked: list[int], grades: list[int], k: int | None, relevant: int) -> float:
    number = sum(g >= relevant for g in grades)
    return sum(g >= relevant for g in ranked[:k]) / number if number else math.nan


def naive_precision(ranked: list[int], grades: list[int], k: int | None, relevant: int) -> float:
    if not any(g >= relevant for g in grades):
        return math.nan
    return sum(g >= relevant for g in ranked[:k]) / (k or max(1, len(ranked)))


def naive_err(ranked: list[int], grades: list[int], k: int | None) -> float:
    if not any(grades):
        return math.nan
    total, going = 0.0, 1.0
    for i, g in enumerate(ranked[:k]):
        stop = (2**g - 1) / 2**3
        total, going = total + going * stop / (i + 1), going * (1 - stop)
    return total


@given(ROWS, CUTS, st.integers(1, 3))
def test_measures_equal_their_definitions(rows: list[Row], k: int | None, relevant: int) -> None:
    ranked = Ranking.of(table(rows))
    expected = lists(rows).values()
    pairs = [
        (measures.ndcg_exp(ranked, k), [naive_ndcg(*one, k, True) for one in expected]),
        (measures.ndcg_linear(ranked, k), [naive_ndcg(*one, k, False) for one in expected]),
        (measures.average_precision(ranked, relevant, k), [naive_map(*one, k, relevant) for one in expected]),
        (measures.reciprocal_rank(ranked, relevant, k), [naive_mrr(*one, k, relevant) for one in expected]),
        (measures.recall(ranked, relevant, k), [naive_recall(*one, k, relevant) for one in expected]),
        (measures.precision(ranked, relevant, k), [naive_precision(*one, k, relevant) for one in expected]),
        (measures.err(ranked, k, max_grade=3), [naive_err(*one, k) for one in expected]),
    ]
    for found, wanted in pairs:
        assert found.tolist() == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        assert np.all(np.isnan(found) | ((found >= 0) & (found <= 1 + 1e-12)))


@given(ROWS, st.integers(1, 3))
def test_auc_equals_the_share_of_right_pairs(rows: list[Row], relevant: int) -> None:
    expected = []
    for query in dict.fromkeys(row[0] for row in rows):
        own = [(g, s if math.isfinite(s) else -math.inf) for q, g, s in rows if q == query and g != UNJUDGED]
        good, bad = [s for g, s in own if g >= relevant], [s for g, s in own if g < relevant]
        right = sum((a > b) + (a == b) / 2 for a in good for b in bad)
        expected.append(right / (len(good) * len(bad)) if good and bad else math.nan)
    assert measures.auc(table(rows), relevant).tolist() == pytest.approx(expected, nan_ok=True)


@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_queries_and_rows_does_not_matter(rows: list[Row], rng: random.Random) -> None:
    """Documents keep their ids, so that ties break the same way."""
    named = [(*row, f"d{i}") for i, row in enumerate(rows)]

    def by_query(of: list[tuple[str, int, float, str]]) -> dict[str, float]:
        scored = Scored.from_columns([r[0] for r in of], [r[3] for r in of], [r[1] for r in of], [r[2] for r in of])
        values = measures.ndcg_exp(Ranking.of(scored), 5)
        return {q: v for q, v in zip(scored.queries, values.tolist(), strict=True) if math.isfinite(v)}

    assert by_query(rng.sample(named, len(named))) == pytest.approx(by_query(named))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(-40, 40)), min_size=1, max_size=20))
def test_monotone_maps_of_scores_change_nothing(rows: list[tuple[str, int, int]]) -> None:
    plain = Ranking.of(table([(q, g, float(s)) for q, g, s in rows]))
    mapped = Ranking.of(table([(q, g, math.exp(s / 10)) for q, g, s in rows]))
    assert np.array_equal(plain.grades, mapped.grades)


@given(ROWS)
def test_the_best_order_has_ndcg_one(rows: list[Row]) -> None:
    best = Ranking.of(table([(q, g, float(max(0, g))) for q, g, _ in rows]))
    for values in (measures.ndcg_exp(best), measures.ndcg_linear(best, 3)):
        assert values[np.isfinite(values)] == pytest.approx(1.0)
