"""What a fit says of its figures: what they are means of, what the kept ranker has, and what was compared."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.metrics import Table, compute
from mmsearch.metrics.join import Grades, Scores, join
from mmsearch.metrics.tables import number
from mmsearch.ranking import FinalRanker
from mmsearch.ranking.apply import rank_candidates
from mmsearch.report.scores import read_grades
from mmsearch.scoring import FeatureScorer

QUICK = ["max_rounds=25", "patience=10", "min_docs_per_leaf=5", "resamples=100"]


def fit(world, out, *more):
    tables = ("--judgments", world / "train.jsonl", "--validation", world / "val.jsonl", "--test", world / "test.jsonl")
    words = ["rank", "fit", "--index", world / "index", *tables, "--out", out, *QUICK, *more]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def applied(world, folder):
    """Give the PNR of the ranker as it is applied to the pairs of the test grades."""
    grades = read_grades(world / "test.jsonl", "overall")
    asked = Scores(grades.queries, grades.doc_ids, [None] * len(grades.queries))
    ranked = rank_candidates(FinalRanker.load(folder), FeatureScorer.open(world / "index"), asked, None)
    scored, _ = join(Grades(grades.queries, grades.doc_ids, grades.grades, []), ranked)
    return compute("pnr", Table(scored)).value


def test_the_figures_of_the_kept_ranker_are_told(world, tmp_path):
    shown = fit(world, tmp_path / "ranker", "num_seeds=2", "compare=false")
    figures = json.loads((tmp_path / "ranker" / "ranker.json").read_text())["figures"]
    kept = applied(world, tmp_path / "ranker")
    assert figures["kept"]["pnr"] == pytest.approx(kept)
    assert figures["kept"]["pnr"] != pytest.approx(figures["rankers"]["all"]["pnr"]["value"], abs=1e-4)
    told = f"means over 2 fits of different seeds; the ranker that is kept (seed 0) has pnr {number(kept)}, ndcg_exp@10"
    assert f"note: figures are {told}" in shown
    assert told in (tmp_path / "ranker" / "report.html").read_text(encoding="utf-8")


def test_of_one_fit_the_figures_are_its_own(world, tmp_path):
    shown = fit(world, tmp_path / "ranker", "num_seeds=1", "compare=false")
    assert "means over" not in shown
    figures = json.loads((tmp_path / "ranker" / "ranker.json").read_text())["figures"]
    assert figures["kept"]["pnr"] == figures["rankers"]["all"]["pnr"]["value"]


def test_a_feature_without_any_value_is_no_comparison(world, rows_file, tmp_path):
    """The column is there, and empty for every graded pair: nothing can be learned of it."""
    rows = [json.loads(row) for row in (world / "bm25.jsonl").read_text().splitlines()]
    path = rows_file(tmp_path / "own.jsonl", [row | {"ctr": None} for row in rows])
    more = ("--columns", path, "features=[content]", "columns=[bm25, ctr]", "baseline=[bm25]", "num_seeds=1")
    shown = fit(world, tmp_path / "ranker", *more)
    assert "note: ctr: no graded pair to learn from has a value; compared with nothing" in shown
    told = json.loads((tmp_path / "ranker" / "ranker.json").read_text())["figures"]
    assert set(told["rankers"]) == {"all", "baseline", "baseline + content", "content alone"}
    assert {one["family_size"] for one in told["comparisons"]} == {2, 1}
    assert np.isfinite([one["difference"] for one in told["comparisons"]]).all()
    families = (
        "2 comparisons (each other with 'all') and, apart from them, for 1 comparison (each other with 'baseline')"
    )
    assert f"note: p (Holm) is p corrected for {families}" in shown
