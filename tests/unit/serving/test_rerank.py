"""Reranking a run: what moves, what stays, and the files it is written to."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.errors import DataError
from mmsearch.metrics.files import read_candidates, read_run
from mmsearch.metrics.join import Scores
from mmsearch.metrics.run_file import write_run
from serving.rerank import rerank

NONE = float("nan")


class Table:
    """A scorer that looks scores up, in batches of two, the last pairs first; it notes what it was asked."""

    def __init__(self, scores):
        self.scores, self.asked = scores, []

    def score_pairs(self, queries, doc_ids):
        pairs = list(zip(queries, doc_ids, strict=True))
        self.asked += pairs
        for start in reversed(range(0, len(pairs), 2)):
            places = np.arange(start, min(start + 2, len(pairs)))
            yield places, np.array([self.scores.get(pairs[i], NONE) for i in places], np.float32)


def rows(run):
    return list(zip(run.queries, run.doc_ids, run.scores, strict=True))


def run_of(*found):
    return Scores(*([row[i] for row in found] for i in range(3)))


def test_the_top_is_put_into_the_order_of_the_scorer_and_the_rest_stays_below():
    run = run_of(("q", "a", 3.0), ("q", "b", 9.0), ("p", "a", 1.0), ("q", "c", 5.0), ("q", "d", 3.0), ("q", "e", 1.0))
    scorer = Table({("q", "b"): -4.0, ("q", "c"): 2.0, ("p", "a"): 7.0})
    found = rows(rerank(run, scorer, top=2))
    assert found == [
        ("q", "c", 2.0),
        ("q", "b", -4.0),
        ("q", "a", -5.0),  # equal before, equal now
        ("q", "d", -5.0),
        ("q", "e", -6.0),
        ("p", "a", 7.0),
    ]
    assert sorted(scorer.asked) == [("p", "a"), ("q", "b"), ("q", "c")]


def test_what_has_no_score_is_told_and_comes_last(caplog):
    run = run_of(("q", "a", None), ("q", "b", math.inf), ("q", "c", 1.0), ("q", "d", 2.0), ("q", "c", 9.0))
    assert rows(rerank(run, Table({("q", "c"): 1.0}), top=2)) == [
        ("q", "c", 1.0),
        ("q", "d", None),
        *[("q", name, None) for name in "ab"],
    ]
    assert "1 of 2 candidates have no score" in caplog.text
    everything = rerank(run, Table({("q", "a"): 5.0, ("q", "b"): 6.0}), top=9)
    assert rows(everything)[:2] == [("q", "b", 6.0), ("q", "a", 5.0)]


@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from("abcdef"), st.none() | st.integers(-3, 3).map(float)),
        max_size=14,
    ),
    st.integers(1, 4),
)
def test_every_candidate_once_and_the_rest_in_its_order(found, top):
    scores = {(q, d): float(ord(d) % 4) for q in "pq" for d in "abcde"}
    run = rows(rerank(run_of(*found), Table(scores), top))
    assert {row[:2] for row in run} == {row[:2] for row in found}
    assert len(run) == len({row[:2] for row in found})
    first = {}
    for q, d, s in found:
        first.setdefault((q, d), -math.inf if s is None else s)
    for query in "pq":
        mine = [row for row in run if row[0] == query]
        best = sorted((pair for pair in first if pair[0] == query), key=lambda pair: -first[pair])[:top]
        head, tail = mine[: len(best)], mine[len(best) :]
        known = [s for _, _, s in head if s is not None]
        assert known == sorted(known, reverse=True)
        if all(pair[1] != "f" for pair in best):
            assert {row[:2] for row in head} == set(best)
            assert all(row[2] == scores[row[:2]] for row in head)
        order = [first[row[:2]] for row in tail if row[2] is not None]
        assert order == sorted(order, reverse=True)
        assert all(row[2] < min(known, default=0.0) for row in tail if row[2] is not None)


@pytest.mark.parametrize("name", ["out.jsonl", "out.run", "out.csv", "out.tsv", "out.parquet", "out"])
def test_what_is_written_is_read_again(tmp_path, name):
    run = run_of(('red "panda"', "视频 1", 0.1), ("red, panda", "b", -2.5), ("'", "c;", None), ("q", "b", 7.0))
    write_run(tmp_path / name, run, "tag")
    read = rows(read_run(tmp_path / name))
    assert [row[:2] for row in read] == [row[:2] for row in rows(run)]
    assert [s is None or math.isnan(s) for *_, s in read] == [False, False, True, False]
    assert [s for *_, s in read if s == s and s is not None] == [0.1, -2.5, 7.0]


def test_trec_text_has_ranks_and_a_tag(tmp_path):
    write_run(tmp_path / "out.run", run_of(("q", "a", 2.0), ("q", "b", 1.0), ("p", "a", 0.5)), "mine")
    lines = [line.split("\t") for line in (tmp_path / "out.run").read_text().splitlines()]
    assert lines == [
        ["q", "Q0", "a", "1", "2.0", "mine"],
        ["q", "Q0", "b", "2", "1.0", "mine"],
        ["p", "Q0", "a", "1", "0.5", "mine"],
    ]


def test_names_that_trec_text_cannot_hold_are_refused_and_nothing_is_left(tmp_path):
    for name in ("q\tx", "v00003\n", "v\r", "\u2028", "a\nb", "\n", ""):
        for row in ((name, "a", 1.0), ("q", name, 1.0)):
            with pytest.raises(DataError, match=r"write \.jsonl"):
                write_run(tmp_path / "out.run", run_of(("q", "a", 1.0), row), "tag")
    for file, name in (("out.tsv", "a\tb"), ("out.tsv", "a\n"), ("out.csv", "a\nb"), ("out.csv", "")):
        with pytest.raises(DataError, match=r"write \.jsonl"):
            write_run(tmp_path / file, run_of(("q", "a", 1.0), (name, "a", 1.0)), "tag")
    for file in ("out.run", "out.jsonl", "out.csv", "out.parquet"):
        with pytest.raises(DataError, match="half a surrogate pair; write whole characters"):
            write_run(tmp_path / file, run_of(("q", "a", 1.0), ("red \ud83d ball", "a", 1.0)), "tag")
    assert list(tmp_path.iterdir()) == []


def test_candidates_need_no_scores(tmp_path):
    (tmp_path / "judged.jsonl").write_text('{"query": "q", "doc_id": "a", "grade": 2}\n{"query": "q", "doc_id": "b"}\n')
    assert rows(read_candidates(tmp_path / "judged.jsonl")) == [("q", "a", None), ("q", "b", None)]
