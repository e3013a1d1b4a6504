"""PNR on tables small enough to count by hand, and on real grades."""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from mmsearch.metrics.pnr import count_pairs, merge_counts, pnr
from mmsearch.metrics.scored import Scored

DATA = Path(os.environ.get("MMSEARCH_DATA") or Path(__file__).parents[4] / "shared" / "data") / "cbvs20k"


def scored(*lists: list[tuple[int, float]]) -> Scored:
    rows = [(str(q), str(d), g, s) for q, one in enumerate(lists) for d, (g, s) in enumerate(one)]
    return Scored.from_columns(*([row[i] for row in rows] for i in range(4)))


def test_a_table_counted_by_hand() -> None:
    # 2>1 wrong, 2>0 right, 1>0 right; then a tie; then a query without a pair.
    counts = count_pairs(scored([(2, 0.5), (1, 0.9), (0, 0.1)], [(1, 0.3), (0, 0.3)], [(1, 1.0), (1, 2.0)]))
    assert counts.totals == (2, 1, 1)
    assert counts.per_grades() == {(1, 0): (1, 0, 1), (2, 0): (1, 0, 0), (2, 1): (0, 1, 0)}
    assert counts.per_query().tolist() == [[2, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert counts.per_query("grade_gap").tolist() == [[3, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert pnr(counts) == 2.5 / 1.5
    assert pnr(counts, ties="ignore") == 2.0
    assert pnr(counts, ties="discordant") == 1.0
    assert pnr(counts, min_gap=2) == 1.0
    assert pnr(counts, weights="grade_gap") == 3.5 / 1.5
    assert pnr(counts, average="macro") == (2 / 3 + 1 / 2) / 2


def test_without_a_pair() -> None:
    counts = count_pairs(scored([(1, 0.5)]))
    assert counts.totals == (0, 0, 0)
    assert pnr(counts) == 0.0
    assert math.isnan(pnr(counts, average="macro"))
    assert count_pairs(Scored.from_columns([], [], [], [])).totals == (0, 0, 0)
    assert merge_counts([]).totals == (0, 0, 0)


def test_without_a_wrong_pair_the_ratio_is_the_number_of_right_ones() -> None:
    assert pnr(count_pairs(scored([(1, 3.0), (0, 1.0), (0, 2.0)]))) == 2.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_unscored_documents_stand_below_all_others(bad: float) -> None:
    assert count_pairs(scored([(2, bad), (1, -1e308), (0, bad)])).totals == (1, 1, 1)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Scored.from_columns(["q"], ["d"], [1, 2], [0.0])


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the lent data are absent")
def test_real_grades_give_the_counts_of_the_loop() -> None:
    judged = [json.loads(line) for line in (DATA / "judgments.jsonl").read_text("utf-8").splitlines()]
    run = [json.loads(line) for line in (DATA / "run_uniclip.jsonl").read_text("utf-8").splitlines()]
    lists: dict[str, list[tuple[int, float]]] = {}
    for judgment, row in zip(judged, run, strict=True):
        assert (judgment["query"], judgment["doc_id"]) == (row["query"], row["doc_id"])
        lists.setdefault(judgment["query"], []).append((judgment["grade"], row["score"]))
    sums = [0, 0, 0]
    for documents in lists.values():
        for grade, score in documents:
            for lower, other in documents:
                if grade > lower:
                    sums[0 if score > other else 1 if score < other else 2] += 1
    counts = count_pairs(scored(*lists.values()))
    assert list(counts.totals) == sums
    assert pnr(counts) == (sums[0] + sums[2] / 2) / (sums[1] + sums[2] / 2)


def test_ten_million_pairs_a_second() -> None:
    rng = np.random.default_rng(0)
    rows, length = 500_000, 50
    query = np.repeat(np.arange(rows // length), length)
    table = Scored(
        tuple(map(str, range(rows // length))), query, ("d",) * rows, rng.integers(0, 3, rows), rng.random(rows)
    )
    started = time.process_time()
    counts = count_pairs(table)
    assert sum(counts.totals) / (time.process_time() - started) > 10e6
