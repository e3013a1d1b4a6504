"""Our measures against the tools that the field uses: trec_eval and gdeval (by ir-measures), scipy, and ranx.

Where they differ by intent, the test says so: a query without a relevant document is 0 for trec_eval and has no value
here, and a query that the run leaves out is 0 here and left out there.
"""

import math
import random
import shutil

import ir_measures
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mmsearch.metrics import Scored, Table, compute, count_pairs, pair_accuracy
from mmsearch.metrics.join import Grades, Scores, join
from mmsearch.metrics.ranking import auc

Nested = dict[str, dict[str, float]]
DOCS = st.sampled_from([f"d{i}" for i in range(15)])
GRADES = st.dictionaries(st.sampled_from("1234"), st.dictionaries(DOCS, st.integers(0, 4), min_size=1), min_size=1)
#: Whole numbers, because trec_eval holds scores in single precision; many are equal.
RUNS = st.dictionaries(st.sampled_from("12345"), st.dictionaries(DOCS, st.integers(-6, 6).map(float)))


def joined(qrels: dict[str, dict[str, int]], run: Nested) -> Scored:
    judged = [(q, d, g) for q, docs in qrels.items() for d, g in docs.items()]
    scored = [(q, d, s) for q, docs in run.items() for d, s in docs.items()]
    grades = Grades(*(list(column) for column in zip(*judged, strict=True)), [])  # type: ignore[arg-type]
    columns = zip(*scored, strict=True) if scored else ([], [], [])
    return join(grades, Scores(*(list(column) for column in columns)))[0]  # type: ignore[arg-type]


def ours(scored: Scored, name: str, relevant: int) -> dict[str, float]:
    counts = compute(name, Table(scored, relevant=relevant)).counts
    return {q: float(v) for q, (v, defined) in zip(scored.queries, counts, strict=True) if defined}


def theirs(measure: object, qrels: dict[str, dict[str, int]], run: Nested) -> dict[str, float]:
    return {one.query_id: one.value for one in ir_measures.iter_calc([measure], qrels, run)}


def check(
    pairs: list[tuple[str, str]], qrels: dict[str, dict[str, int]], run: Nested, relevant: int, digits: float = 1e-6
) -> None:
    scored = joined(qrels, run)
    for name, other in pairs:
        found, wanted = ours(scored, name, relevant), theirs(ir_measures.parse_measure(other), qrels, run)
        for query in qrels:
            if not run.get(query):
                assert found.get(query, 0.0) == 0.0
            elif query in found:
                assert found[query] == pytest.approx(wanted[query], abs=digits), (name, query)
            else:
                assert wanted[query] == 0.0


@given(GRADES, RUNS, st.integers(1, 12), st.integers(1, 3))
def test_trec_eval(qrels: dict[str, dict[str, int]], run: Nested, k: int, relevant: int) -> None:
    pairs = [
        ("ndcg_linear", "nDCG"),
        (f"ndcg_linear@{k}", f"nDCG@{k}"),
        ("map", f"AP(rel={relevant})"),
        (f"map@{k}", f"AP(rel={relevant})@{k}"),
        ("mrr", f"RR(rel={relevant})"),
        (f"recall@{k}", f"R(rel={relevant})@{k}"),
        (f"precision@{k}", f"P(rel={relevant})@{k}"),
    ]
    check(pairs, qrels, run, relevant)


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a Perl program")
@pytest.mark.parametrize("seed", range(4))
def test_gdeval(seed: int) -> None:
    """The TREC Web Track's own program: exponential gain and ERR, grades 0 to 4, five digits."""
    rng = random.Random(seed)
    docs = [f"d{i}" for i in range(15)]
    queries = [str(q) for q in range(1, 31)]
    qrels = {q: {d: rng.randint(0, 4) for d in rng.sample(docs, rng.randint(1, 12))} for q in queries}
    run = {q: {d: float(rng.randint(-8, 8)) for d in rng.sample(docs, rng.randint(1, 15))} for q in queries}
    k = rng.randint(1, 12)
    check([(f"ndcg_exp@{k}", f"nDCG(dcg='exp-log2')@{k}"), (f"err(max_grade=4)@{k}", f"ERR@{k}")], qrels, run, 1, 2e-5)


LISTS = st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4)), min_size=2, max_size=25)


@given(LISTS)
def test_pair_accuracy_is_somers_d(rows: list[tuple[int, int]]) -> None:
    """Somers' D of scores given grades is (P - N) / (P + N + T)."""
    grades, scores = np.array(rows).T
    assume(len(set(grades.tolist())) > 1 and len(set(scores.tolist())) > 1)
    counts = count_pairs(Scored.from_columns(["q"] * len(rows), list(map(str, range(len(rows)))), grades, scores))
    found = float(pair_accuracy(np.array(counts.totals, float)))
    with np.errstate(invalid="ignore", divide="ignore"):  # of its p-value, where all pairs agree
        wanted = stats.somersd(grades, scores).statistic
    assert 2 * found - 1 == pytest.approx(wanted, abs=1e-9)


@given(LISTS, st.integers(1, 3))
@settings(max_examples=50)
def test_auc_is_mann_whitney_u(rows: list[tuple[int, int]], relevant: int) -> None:
    grades, scores = np.array(rows).T
    [found] = auc(Scored.from_columns(["q"] * len(rows), list(map(str, range(len(rows)))), grades, scores), relevant)
    good, bad = scores[grades >= relevant], scores[grades < relevant]
    if len(good) == 0 or len(bad) == 0:
        assert math.isnan(found)
        return
    wanted = stats.mannwhitneyu(good, bad, method="asymptotic").statistic / (len(good) * len(bad))
    assert found == pytest.approx(wanted)


def test_ranx() -> None:
    """Runs where ranx is installed; it needs numba, which our environment does without. Its ties break by chance, so
    there are none here, and it counts a query without a relevant document as 0, so every query has one."""
    ranx = pytest.importorskip("ranx", exc_type=ImportError)
    rng = random.Random(0)
    docs = [f"d{i}" for i in range(20)]
    queries = [f"q{i}" for i in range(40)]
    qrels = {q: {d: rng.randint(0, 3) for d in rng.sample(docs, 10)} | {"d0": 2} for q in queries}
    run = {q: dict(zip(rng.sample(docs, 12), rng.sample(range(1000), 12), strict=True)) for q in queries}
    run = {q: {d: float(s) for d, s in one.items()} for q, one in run.items()}
    names = {
        "ndcg_exp@10": "ndcg_burges@10",
        "ndcg_linear@10": "ndcg@10",
        "map": "map",
        "map@5": "map@5",
        "mrr@10": "mrr@10",
        "recall@5": "recall@5",
        "precision@5": "precision@5",
    }
    wanted = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(names.values()))
    scored = joined(qrels, run)
    for name, other in names.items():
        assert compute(name, Table(scored)).value == pytest.approx(wanted[other], abs=1e-9), name
