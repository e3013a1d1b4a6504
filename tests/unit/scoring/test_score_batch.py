"""Batches against single calls, bit by bit; and deadlines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.errors import DeadlineError
from mmsearch.index import ForwardIndex
from mmsearch.scoring import FeatureScorer, RankFeatures
from mmsearch.types import Space

DOC_IDS = [f"v{i}" for i in range(30)]
QUERIES = ["red panda", "", "大熊猫 吃 竹子", "noodles at home", "RED panda", "\ud800"]
SPACES = (Space("cover", 8, "aa11"), Space("content", 8, "bb22"))

requests = st.lists(
    st.tuples(st.sampled_from(QUERIES), st.lists(st.sampled_from([*DOC_IDS, "nobody", ""]), max_size=40)), max_size=6
)


def same(one: RankFeatures, other: RankFeatures) -> bool:
    return (
        one.doc_ids == other.doc_ids
        and one.names == other.names
        and one.values.tobytes() == other.values.tobytes()
        and one.missing.tobytes() == other.missing.tobytes()
        and (one.generation, one.late) == (other.generation, other.late)
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_batch_gives_what_single_calls_give_bit_by_bit(publish_wide, dtype):
    scorer = FeatureScorer.open(publish_wide(dtype=dtype), cache_size=0)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(requests)
    def check(asked):
        batch = scorer.score_batch(asked)
        assert len(batch) == len(asked)
        for (query, doc_ids), found in zip(asked, batch, strict=True):
            assert same(found, scorer.score(query, doc_ids))
            assert not found.late

    check()


class Counting:
    """An encoder that notes what it is asked."""

    spaces = SPACES

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, queries):
        self.asked += queries
        return {space.name: np.eye(space.dim, dtype=np.float32)[[0] * len(queries)] for space in self.spaces}


def test_each_distinct_query_is_encoded_once_and_only_where_there_are_candidates(index_dir):
    encoder = Counting()
    scorer = FeatureScorer(ForwardIndex.open(index_dir), encoder)
    scorer.score_batch([("a", DOC_IDS), ("b", ["v0"]), ("a", ["nobody"]), ("c", [])])
    assert encoder.asked == ["a", "b"]


class Clock:
    """A clock that shows the next of some times each time somebody looks."""

    def __init__(self, *times: float) -> None:
        self._times = list(times)

    def __call__(self) -> float:
        return self._times.pop(0) if len(self._times) > 1 else self._times[0]


@pytest.fixture
def at(monkeypatch):
    """Let deadlines see these times: `at(0, 0, 5)`; the last one stays."""
    return lambda *times: monkeypatch.setattr("mmsearch.scoring.deadline.time.monotonic", Clock(*times))


def test_what_is_late_is_missing_and_told(publish_wide, at):
    scorer = FeatureScorer.open(publish_wide())
    whole = scorer.score("red panda", DOC_IDS)
    at(0, 0, 0, 0, 0, 0.2)  # begin, before encoding, before three spaces, before the fourth
    part = scorer.score("red panda", DOC_IDS, deadline_s=0.1)
    assert part.late
    assert part.generation == whole.generation
    np.testing.assert_array_equal(part.values[:, :3], whole.values[:, :3])
    np.testing.assert_array_equal(part.missing[:, :3], whole.missing[:, :3])
    assert part.missing[:, 3:].all(), "content, and all that is made of spaces which were not scored"
    assert not part.values[:, 3:].any()


def test_in_a_batch_the_requests_advance_side_by_side(publish_wide, at):
    scorer = FeatureScorer.open(publish_wide())
    asked = [("red panda", DOC_IDS), ("tree", DOC_IDS)]
    at(0, 0, 0, 0, 0, 0, 0.2)  # begin, two queries, the first space of both, the second of one
    first, second = scorer.score_batch(asked, deadline_s=0.1)
    assert first.late
    assert second.late
    assert [int((~one.missing).any(axis=0).sum()) for one in (first, second)] == [2, 1]


@pytest.mark.parametrize("times", [(0, 1), (0, 0, 1)])
def test_nothing_in_time_is_an_error(publish_wide, at, times):
    scorer = FeatureScorer.open(publish_wide())
    at(*times)
    with pytest.raises(DeadlineError, match="no score within the deadline of 100 ms; give more time"):
        scorer.score("red panda", DOC_IDS, deadline_s=0.1)


def test_a_deadline_that_passed_before_the_call_is_an_error_and_a_far_one_nothing(index_dir):
    scorer = FeatureScorer.open(index_dir)
    for seconds in (0, -1.0):
        with pytest.raises(DeadlineError):
            scorer.score("red panda", DOC_IDS, deadline_s=seconds)
    assert same(scorer.score("red panda", DOC_IDS, deadline_s=1e9), scorer.score("red panda", DOC_IDS))
    assert scorer.score_batch([], deadline_s=0) == []
