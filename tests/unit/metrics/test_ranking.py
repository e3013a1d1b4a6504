"""Measures of ranked lists on examples worked out by hand."""

import math

import numpy as np
import pytest

from mmsearch.metrics import ranking as measures
from mmsearch.metrics.ranking import Ranking
from mmsearch.metrics.scored import UNJUDGED, Scored


def ranked(grades: list[int], scores: list[float] | None = None, docs: str | None = None) -> Ranking:
    number = len(grades)
    scores = scores or [float(number - i) for i in range(number)]
    return Ranking.of(Scored.from_columns(["q"] * number, list(docs or "abcdefgh"[:number]), grades, scores))


def test_ndcg_with_both_gains() -> None:
    # The list of grades that Järvelin & Kekäläinen's followers print everywhere: 3 2 3 0 1 2.
    linear = measures.ndcg_linear(ranked([3, 2, 3, 0, 1, 2]))
    exponential = measures.ndcg_exp(ranked([3, 2, 3, 0, 1, 2]))
    assert linear == pytest.approx([6.861126688593501 / 7.1409951840957], abs=1e-9)
    assert exponential == pytest.approx([0.9488107485678985], abs=1e-9)


def test_ndcg_agrees_on_binary_grades() -> None:
    one = ranked([0, 1, 1, 0, 1])
    assert np.array_equal(measures.ndcg_exp(one, 3), measures.ndcg_linear(one, 3))


def test_average_precision_and_friends() -> None:
    one = ranked([0, 1, 1, 0, 2])
    assert measures.average_precision(one) == pytest.approx([(1 / 2 + 2 / 3 + 3 / 5) / 3])
    assert measures.average_precision(one, k=3) == pytest.approx([(1 / 2 + 2 / 3) / 3])
    assert measures.reciprocal_rank(one).tolist() == [0.5]
    assert measures.reciprocal_rank(one, relevant=2, k=4).tolist() == [0.0]
    assert measures.recall(one, k=3) == pytest.approx([2 / 3])
    assert measures.precision(one, k=10).tolist() == [0.3]
    assert measures.precision(one).tolist() == [0.6]


def test_err_is_the_cascade_of_chapelle() -> None:
    # R = 3/4 for grade 2 and 1/4 for grade 1: 3/4 + 1/4 * 1/4 / 2.
    assert measures.err(ranked([2, 1]), max_grade=2) == pytest.approx([3 / 4 + 1 / 4 * 1 / 4 / 2])
    with pytest.raises(ValueError, match="max_grade is 1"):
        measures.err(ranked([2, 1]), max_grade=1)


def test_ties_go_to_the_higher_document_id() -> None:
    assert measures.reciprocal_rank(ranked([1, 0], [0.5, 0.5], "ab")).tolist() == [0.5]
    assert measures.reciprocal_rank(ranked([1, 0], [0.5, 0.5], "ba")).tolist() == [1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_unscored_document_earns_nothing_and_stays_missing(bad: float) -> None:
    one = ranked([2, 1], [bad, 0.1])
    assert measures.recall(one, k=10).tolist() == [0.5]
    assert measures.reciprocal_rank(one, relevant=2).tolist() == [0.0]
    assert measures.ndcg_linear(one, 1).tolist() == [0.5]


def test_unjudged_documents_are_irrelevant_and_keep_their_place() -> None:
    assert measures.reciprocal_rank(ranked([UNJUDGED, 1])).tolist() == [0.5]
    assert measures.auc(Scored.from_columns("qqq", "abc", [UNJUDGED, 1, 0], [3.0, 2.0, 1.0])).tolist() == [1.0]


def test_queries_without_a_relevant_document_have_no_value() -> None:
    one = ranked([0, 0])
    for values in (
        measures.ndcg_exp(one),
        measures.average_precision(one),
        measures.reciprocal_rank(one),
        measures.recall(one, k=1),
        measures.precision(one, k=1),
        measures.err(one, max_grade=1),
    ):
        assert np.isnan(values).all()


def test_an_empty_table_has_no_queries() -> None:
    empty = Ranking.of(Scored.from_columns([], [], [], []))
    for values in (measures.ndcg_exp(empty), measures.average_precision(empty), measures.reciprocal_rank(empty)):
        assert values.shape == (0,)


def test_grades_too_high_for_the_exponential_gain() -> None:
    with pytest.raises(ValueError, match="grade 61 is too high"):
        measures.ndcg_exp(ranked([61, 0]))
