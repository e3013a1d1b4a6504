"""PNR against a loop over all pairs, and the laws that it obeys."""

import math
import random
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.metrics.pnr import count_pairs, merge_counts, pair_accuracy, pnr
from mmsearch.metrics.scored import UNJUDGED, Scored

SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(), st.just(math.nan))
ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(UNJUDGED, 4), SCORES), max_size=40)
Row = tuple[str, int, float]


def table(rows: list[Row]) -> Scored:
    queries, grades, scores = ([row[i] for row in rows] for i in range(3))
    return Scored.from_columns(queries, [str(i) for i in range(len(rows))], grades, scores)


def naive(rows: list[Row]) -> Counter[tuple[str, int, int, str]]:
    """Form every pair."""
    counts: Counter[tuple[str, int, int, str]] = Counter()
    for i, (query, grade, score) in enumerate(rows):
        for other, lower, below in rows[:i] + rows[i + 1 :]:
            if query == other and grade > lower != UNJUDGED:
                a, b = (x if math.isfinite(x) else -math.inf for x in (score, below))
                counts[query, grade, lower, "P" if a > b else "N" if a < b else "T"] += 1
    return counts


@given(ROWS)
def test_counts_equal_those_of_a_loop_over_all_pairs(rows: list[Row]) -> None:
    counts = count_pairs(table(rows))
    found: Counter[tuple[str, int, int, str]] = Counter()
    for query, high, low, (p, n, t) in zip(counts.query, counts.high, counts.low, counts.counts, strict=True):
        for kind, number in zip("PNT", (p, n, t), strict=True):
            found[counts.queries[query], int(high), int(low), kind] += int(number)
    assert +found == naive(rows)


@given(ROWS, st.sampled_from(["half", "ignore", "discordant"]), st.integers(1, 3), st.booleans())
def test_options_equal_their_definitions(rows: list[Row], ties: str, min_gap: int, weighted: bool) -> None:
    sums = {"P": 0, "N": 0, "T": 0}
    for (_, high, low, kind), number in naive(rows).items():
        if high - low >= min_gap:
            sums[kind] += number * (high - low if weighted else 1)
    p, n, t = sums.values()
    up, down = {"half": (p + t / 2, n + t / 2), "ignore": (p, n), "discordant": (p, n + t)}[ties]
    found = pnr(count_pairs(table(rows)), ties=ties, min_gap=min_gap, weights="grade_gap" if weighted else "none")
    assert found == up / max(1, down)


@given(ROWS)
def test_macro_is_the_mean_pair_accuracy_of_queries_with_pairs(rows: list[Row]) -> None:
    of: dict[str, Counter[str]] = {}
    for (query, _, _, kind), number in naive(rows).items():
        of.setdefault(query, Counter())[kind] += number
    accuracies = [(c["P"] + c["T"] / 2) / c.total() for c in of.values()]
    found = pnr(count_pairs(table(rows)), average="macro")
    assert math.isnan(found) if not accuracies else math.isclose(found, sum(accuracies) / len(accuracies))


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Row], rng: random.Random) -> None:
    shuffled = rng.sample(rows, len(rows))
    assert count_pairs(table(rows)).per_grades() == count_pairs(table(shuffled)).per_grades()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(-50, 50)), max_size=30))
def test_monotone_maps_of_scores_change_nothing(rows: list[tuple[str, int, int]]) -> None:
    plain = count_pairs(table([(q, g, float(s)) for q, g, s in rows]))
    mapped = count_pairs(table([(q, g, math.exp(s / 10) * 3 - 7) for q, g, s in rows]))
    assert plain.per_grades() == mapped.per_grades()


@given(ROWS)
def test_negated_scores_swap_right_and_wrong(rows: list[Row]) -> None:
    finite = [row for row in rows if math.isfinite(row[2])]
    p, n, t = count_pairs(table(finite)).totals
    assert count_pairs(table([(q, g, -s) for q, g, s in finite])).totals == (n, p, t)


@given(ROWS)
def test_shards_of_whole_queries_merge_to_the_whole(rows: list[Row]) -> None:
    whole = count_pairs(table(rows))
    shards = [count_pairs(table([row for row in rows if row[0] in part])) for part in ("ac", "b", "d")]
    merged = merge_counts(shards)
    assert merged.per_grades() == whole.per_grades()
    of_whole = dict(zip(whole.queries, whole.per_query().tolist(), strict=True))
    assert dict(zip(merged.queries, merged.per_query().tolist(), strict=True)) == of_whole
    assert pnr(merged) == pnr(whole)


@given(ROWS)
def test_ranges(rows: list[Row]) -> None:
    counts = count_pairs(table(rows))
    assert pnr(counts) >= 0
    accuracy = pair_accuracy(counts.per_query().astype(float))
    assert np.all(np.isnan(accuracy) | ((accuracy >= 0) & (accuracy <= 1)))
