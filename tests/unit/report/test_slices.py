"""Parts of the judgments, against loops over pairs."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.metrics import Interval, Pairs, Result, Scored
from mmsearch.metrics.inputs import Input
from mmsearch.report.sections import slices as sections
from mmsearch.report.slices import Bootstrap, by_group, by_presence, language, query_groups
from mmsearch.report.spread import spreads
from mmsearch.types import Modality

BOOTSTRAP = Bootstrap(100, 0)
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3, float("nan")]), st.booleans()),
    min_size=2,
    max_size=24,
)
NAMES = ("红熊猫", "red panda", "123")


def table(rows):
    queries = [NAMES[query] for query, *_ in rows]
    scored = Scored.from_columns(
        queries, [f"d{i}" for i in range(len(rows))], [r[1] for r in rows], [r[2] for r in rows]
    )
    return Input("content", None, scored, {})


def naive(rows, keep):
    """Concordant, discordant and tied pairs of one query with different grades for which `keep` holds."""
    found = [0, 0, 0]
    score = [-np.inf if np.isnan(row[2]) else row[2] for row in rows]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if a[0] == b[0] and a[1] > b[1] and keep(a, b):
                found[0 if score[i] > score[j] else 1 if score[i] < score[j] else 2] += 1
    return tuple(found)


def pairs(result):
    return (result.pairs.concordant, result.pairs.discordant, result.pairs.tied)


@given(ROWS)
def test_groups_of_queries_equal_a_loop(rows):
    one = table(rows)
    groups = query_groups(one.scored.queries)
    found = {result.name: pairs(result) for result in by_group([one], groups, BOOTSTRAP)["content"]}
    assert found["all queries"] == naive(rows, lambda a, b: True)
    for number, tongue in enumerate(("zh", "en", "other")):
        if tongue in found:
            assert found[tongue] == naive(rows, lambda a, b, n=number: a[0] == n)


@given(ROWS)
def test_presence_equals_a_loop_and_adds_up(rows):
    has = {f"d{i}": frozenset({Modality.TITLE} if row[3] else ()) for i, row in enumerate(rows)}
    found = {r.name: pairs(r) for r in by_presence([table(rows)], has, BOOTSTRAP)["content"]}
    assert found["title: both"] == naive(rows, lambda a, b: a[3] and b[3])
    assert found["title: one"] == naive(rows, lambda a, b: a[3] != b[3])
    assert found["title: neither"] == naive(rows, lambda a, b: not (a[3] or b[3]))
    assert found["asr: neither"] == naive(rows, lambda a, b: True)


def test_samples_without_a_pair_are_no_bad_samples():
    """One query of ten has titles: a third of the samples lacks it, and its PNR is not 0 in these."""
    rows = [(f"q{i}", f"d{i}{j}", j % 2, j / 8 if j < 6 else 0.0) for i in range(10) for j in range(8)]
    scored = Scored.from_columns(*zip(*rows, strict=True))
    has = {f"d0{j}": frozenset({Modality.TITLE}) for j in range(8)}
    found = {r.name: r for r in by_presence([Input("content", None, scored, {})], has, BOOTSTRAP)["content"]}
    both, one = found["title: both"], found["title: one"]
    assert both.num_queries == 1
    assert both.value == pytest.approx(found["title: neither"].value)
    assert (both.interval.low, both.interval.high) == pytest.approx((both.value, both.value))
    assert pairs(one) == (0, 0, 0)
    assert np.isnan([one.value, one.interval.low, one.interval.high]).all()


@given(ROWS)
def test_spreads_count_every_row(rows):
    one = table(rows)
    scored = [(grade, score) for _, grade, score, _ in rows if not np.isnan(score)]
    found = spreads([one], BOOTSTRAP)
    if not scored:
        assert found == {}
        return
    spread = found["content"]
    assert {h.grade: h.num_scored for h in spread.histograms} == {
        grade: sum(g == grade for g, _ in scored) for grade in {row[1] for row in rows}
    }
    assert sum(h.num_scored + h.num_missing for h in spread.histograms) == len(rows)
    assert all(sum(h.shares) == pytest.approx(1) for h in spread.histograms if h.num_scored)
    assert sum(tenth.num_rows for tenth in spread.tenths) == len(scored)
    for tenth in spread.tenths:
        inside = [grade for grade, score in scored if tenth.low_score <= score <= tenth.high_score]
        assert tenth.mean_grade == pytest.approx(np.mean(inside))


def test_tenths_are_tenths_where_scores_differ():
    rows = [(0, i // 34, i / 100, True) for i in range(100)]
    spread = spreads([table(rows)], BOOTSTRAP)["content"]
    assert [tenth.num_rows for tenth in spread.tenths] == [10] * 10
    assert [tenth.mean_grade for tenth in spread.tenths] == sorted(tenth.mean_grade for tenth in spread.tenths)


def test_languages_and_lengths():
    assert [language(q) for q in ("red 熊", "red", "12?", "")] == ["zh", "en", "other", "other"]
    queries = ["猫", "熊猫", "大 熊猫", "小熊猫吃竹子", "one", "one two"]
    groups = query_groups(queries)
    assert list(groups) == ["all queries", "zh", "en", "zh, 1–2 characters", "zh, 3 characters", "zh, 6 characters"]
    assert groups["zh, 3 characters"].tolist() == [False, False, True, False, False, False]
    lengths = [name for name in groups if name.startswith("zh,")]
    np.testing.assert_array_equal(sum(groups[name].astype(int) for name in lengths), groups["zh"].astype(int))


def result(name, concordant):
    return Result(name, 2.0, Interval(1.0, 3.0), 5, Pairs(concordant, 0, 0))


def test_slices_of_few_pairs_are_in_the_numbers_alone():
    sizes = {"both": 900, "one": 99, "neither": 1}
    presence = {"content": [result(f"{m.value}: {which}", size) for m in Modality for which, size in sizes.items()]}
    shown = SimpleNamespace(presence=presence, share_present={"title": 0.95}, num_unknown=0)
    text = "".join(part.text for part in sections.presence(shown).body)
    drawn, _, numbers = text.partition("<details>")
    assert [drawn.count(f">title: {which}<") for which in ("both have it", "one has it", "neither")] == [1, 1, 0]
    assert numbers.count("content · title: neither") == 1
    assert "title 95%" in text
