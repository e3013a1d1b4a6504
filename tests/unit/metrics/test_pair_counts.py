"""The engine that counts pairs: every path of it against one broadcast a list, and its bound of memory."""

import tracemalloc

import numpy as np
import pytest

from mmsearch.metrics import pair_counts
from mmsearch.metrics.pnr import count_pairs
from mmsearch.metrics.scored import UNJUDGED, UNSCORED, Scored

Key = tuple[str, int, int]


def table(lengths: list[int], num_grades: int, seed: int, *, ties: float = 0.3, step: int = 1) -> Scored:
    """Random lists; grades are multiples of a step, some rows are unjudged, some unscored, some scores equal."""
    rng = np.random.default_rng(seed)
    number = sum(lengths)
    query = np.repeat(np.arange(len(lengths)), lengths)
    scores = np.where(rng.random(number) < ties, rng.integers(0, 4, number), rng.random(number))
    scores[rng.random(number) < ties / 10] = UNSCORED
    grades = rng.integers(0, num_grades, number) * step
    grades[rng.random(number) < 0.05] = UNJUDGED
    return Scored(tuple(map(str, range(len(lengths)))), query, ("d",) * number, grades, scores)


def by_broadcast(scored: Scored) -> dict[Key, list[int]]:
    """Form all pairs of a list as square arrays."""
    found: dict[Key, list[int]] = {}
    for number, query in enumerate(scored.queries):
        rows = (scored.query == number) & scored.judged
        grades, scores = scored.grades[rows], scored.scores[rows]
        above, equal = scores[:, None] > scores, scores[:, None] == scores
        for high in np.unique(grades):
            for low in np.unique(grades[grades < high]):
                pairs = (grades[:, None] == high) & (grades == low)
                outcomes = (pairs & above, pairs & ~above & ~equal, pairs & equal)
                found[query, int(high), int(low)] = [int(outcome.sum()) for outcome in outcomes]
    return found


def counted(scored: Scored) -> dict[Key, list[int]]:
    counts = count_pairs(scored)
    keys = zip((counts.queries[q] for q in counts.query), counts.high.tolist(), counts.low.tolist(), strict=True)
    found = dict(zip(keys, counts.counts.tolist(), strict=True))
    assert len(found) == len(counts.query)
    return found


LENGTHS = [1, 2, 3, 7, 8, 8, 8, 16, 17, 18, 19, 20, 21, 33, 60, 63, 64, 65, 66, 70, 130, 0, 200]


@pytest.mark.parametrize("num_grades", [1, 2, 3, 6, 7, 13])
@pytest.mark.parametrize("ties", [0.0, 0.3, 1.0])
def test_lists_of_all_lengths(num_grades: int, ties: float) -> None:
    for seed in range(3):
        scored = table(LENGTHS, num_grades, seed, ties=ties)
        assert counted(scored) == by_broadcast(scored)


def test_in_many_blocks_and_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_counts, "_BLOCK_PLACES", 40)
    monkeypatch.setattr(pair_counts, "_FLOAT32_LENGTH", 30)
    scored = table(LENGTHS * 2, 3, seed=9)
    assert counted(scored) == by_broadcast(scored)


def test_grades_may_be_any_whole_numbers() -> None:
    for step in (10, 1_000_000):
        scored = table([30, 12], 4, seed=1, step=step)
        assert counted(scored) == by_broadcast(scored)


def test_a_long_list_is_counted_to_the_last_pair() -> None:
    """Counts here are beyond the whole numbers that a float32 holds."""
    number = 20_000
    scores = np.arange(number, dtype=np.float64)
    grades = (np.arange(number) >= number // 2).astype(np.int64)
    scored = Scored(("q",), np.zeros(number, np.int64), ("d",) * number, grades, scores)
    assert count_pairs(scored).totals == ((number // 2) ** 2, 0, 0)
    swapped = scores.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    assert count_pairs(scored.with_scores(swapped)).totals == ((number // 2 - 1) ** 2, number - 1, 0)


def test_memory_grows_with_the_rows_and_not_with_the_square_of_a_list() -> None:
    number = 200_000
    rng = np.random.default_rng(0)
    scored = Scored(
        ("q",), np.zeros(number, np.int64), ("d",) * number, rng.integers(0, 3, number), rng.random(number).round(4)
    )
    tracemalloc.start()
    count_pairs(scored)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * number
