"""`mmsearch rank fit` and `apply`: one folder, runs in order, the same figures as `mmsearch evaluate`."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.errors import ConfigError, DataError, FingerprintError, TableError
from mmsearch.metrics.files import read_run
from mmsearch.ranking import FinalRanker
from mmsearch.scoring import FeatureScorer

QUICK = ["max_rounds=25", "patience=10", "num_seeds=1", "min_docs_per_leaf=5", "resamples=100"]


def run(*arguments, stdin=None):
    done = CliRunner().invoke(app, list(map(str, arguments)), input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def fit(world, out, *more):
    tables = ("--judgments", world / "train.jsonl", "--validation", world / "val.jsonl", "--test", world / "test.jsonl")
    return run("rank", "fit", "--index", world / "index", *tables, "--out", out, *more, *QUICK)


@pytest.fixture(scope="module")
def ranker(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "ranker"
    told = json.loads(fit(world, folder, "--json", "compare=false"))
    assert told == json.loads((folder / "ranker.json").read_text())
    return folder


@pytest.fixture(scope="module")
def with_columns(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "with_columns"
    shown = fit(world, folder, "--columns", world / "bm25.jsonl", "features=[content]")
    assert "all − baseline" in shown
    assert "content alone" in shown
    assert "measured on the test queries" in shown
    return folder


def test_a_ranked_run_has_the_figures_that_the_fit_told(world, ranker, tmp_path):
    run(
        "rank",
        "apply",
        "--ranker",
        ranker,
        "--index",
        world / "index",
        "--run",
        world / "test.jsonl",
        "--out",
        tmp_path / "a.jsonl",
    )
    measured = (
        "--qrels",
        world / "test.jsonl",
        "--run",
        tmp_path / "a.jsonl",
        "--metrics",
        "pnr,ndcg_exp@10",
        "--json",
    )
    (found,) = json.loads(run("evaluate", *measured, "--resamples", 100))["runs"].values()
    told = json.loads((ranker / "ranker.json").read_text())["figures"]["rankers"]["all"]
    for measure in ("pnr", "ndcg_exp@10"):
        assert {k: found[measure][k] for k in ("value", "low", "high")} == {
            k: pytest.approx(told[measure][k], abs=1e-12) for k in ("value", "low", "high")
        }


def test_rows_of_a_query_come_together_best_first_and_what_has_no_score_last(world, ranker, rows_file, tmp_path):
    pairs = [("aax0", "d000"), ("bax1", "d010"), ("aax0", "nobody"), ("aax0", "d002"), ("aax0", "d000")]
    path = rows_file(tmp_path / "in.jsonl", [{"query": q, "doc_id": d} for q, d in pairs])
    for name in ("out.jsonl", "out.run"):
        shown = run(
            "rank", "apply", "--ranker", ranker, "--index", world / "index", "--run", path, "--out", tmp_path / name
        )
        assert shown.strip() == str(tmp_path / name)
        found = read_run(tmp_path / name)
        assert list(zip(found.queries, found.doc_ids, strict=True)) == [
            ("aax0", "d002"),
            ("aax0", "d000"),
            ("aax0", "nobody"),
            ("bax1", "d010"),
        ]
        assert found.scores[0] > found.scores[1]
        assert found.scores[2] is None or math.isnan(found.scores[2])


def test_the_candidates_of_one_query_are_printed(world, ranker):
    asked = ("--query", "aax0", "--docs", "-")
    shown = run("rank", "apply", "--ranker", ranker, "--index", world / "index", *asked, stdin="d000\nnobody\nd002\n")
    head, *rows = [line.split("\t") for line in shown.splitlines()]
    assert head == ["doc_id", "score"]
    assert [doc_id for doc_id, _ in rows] == ["d002", "d000", "nobody"]
    assert rows[2][1] == ""


def test_columns_are_needed_where_the_ranker_learned_from_them(world, with_columns, ranker, tmp_path):
    common = ("--index", world / "index", "--run", world / "test.jsonl", "--out", tmp_path / "a.run")
    with pytest.raises(ConfigError, match="fitted with the columns bm25; give their table with --columns TABLE"):
        run("rank", "apply", "--ranker", with_columns, *common)
    run("rank", "apply", "--ranker", with_columns, *common, "--columns", world / "bm25.jsonl")
    assert None not in read_run(tmp_path / "a.run").scores
    run("rank", "apply", "--ranker", ranker, *common, "--columns", world / "bm25.jsonl")  # warns, and goes on


def test_candidates_without_a_row_of_columns_and_repeated_rows_are_counted(world, with_columns, rows_file, tmp_path):
    rows = [json.loads(line) for line in (world / "bm25.jsonl").read_text().splitlines()]
    judged = {(one["query"], one["doc_id"]) for one in map(json.loads, (world / "test.jsonl").read_text().splitlines())}
    asked = [one for one in rows if (one["query"], one["doc_id"]) in judged]
    own = rows_file(tmp_path / "few.jsonl", [*asked[:-3], *asked[:2]])
    for columns, told in ((world / "bm25.jsonl", False), (own, True)):
        common = ("--index", world / "index", "--run", world / "test.jsonl", "--out", tmp_path / "a.run")
        given = ("rank", "apply", "--ranker", with_columns, *common, "--columns", columns)
        done = CliRunner().invoke(app, list(map(str, given)))
        assert done.exit_code == 0, done.output
        said = " ".join(done.stderr.split())
        assert (f"3 of {len(judged)} candidates stand in no row of" in said) == told
        assert ("2 rows of" in said and "repeat the pair of an earlier one" in said) == told


def test_the_lines_of_the_howto_score_with_columns(world, with_columns):
    page = (Path(__file__).parents[3] / "docs" / "howto" / "final-ranker.md").read_text(encoding="utf-8")
    _, code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ranker = FinalRanker.load(with_columns)
    features = FeatureScorer.open(world / "index").score("aax0", ["d000", "d002"])
    names = {"ranker": ranker, "features": features}
    exec(code.replace("my_ctr", "bm25").replace("v00001", "d000"), names)
    np.testing.assert_array_equal(names["scores"], ranker.score(features, {"bm25": np.array([0.12, math.nan])}))
    told = r"fitted with the column 'bm25', which is absent; .* score\(features, columns=\{'bm25': \[…\]\}\)"
    for columns in (None, {"ctr": [1.0, 2.0]}):
        with pytest.raises(DataError, match=told):
            ranker.score(features, columns)
    with pytest.raises(DataError, match=r"'bm25' has shape \[1\]; give one number for each of the 2 candidates"):
        ranker.score(features, {"bm25": [1.0]})


def test_queries_that_no_row_of_columns_names_are_ranked_without_numbers(world, with_columns, ranker, tmp_path):
    own = tmp_path / "other.csv"
    for row, hint in (("aax0,other,1", False), ("other,d002,1", False), ("other,other,1", True)):
        own.write_text(f"query,doc_id,bm25\n{row}\n")
        asked = ("--query", "aax0", "--docs", "-", "--columns", own)
        given = ("rank", "apply", "--ranker", with_columns, "--index", world / "index", *asked)
        done = CliRunner().invoke(app, list(map(str, given)), input="d000\nd002\n")
        assert done.exit_code == 0, done.output
        assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["doc_id", "d002", "d000"]
        said = " ".join(done.stderr.split())
        assert "2 of 2 candidates stand in no row of" in said
        assert ("which names none of their queries or ids: is it the right table?" in said) == hint
    with pytest.raises(TableError, match=r"other\.csv: holds none of the graded pairs; is it the right table\?"):
        fit(world, tmp_path / "new", "--columns", own)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.TSV", "a.parquet", "a.run", "a.trec", "a.txt", "a"])
def test_the_ending_of_the_run_is_its_format_and_evaluate_reads_it(world, ranker, tmp_path, name):
    given = ("--ranker", ranker, "--index", world / "index", "--run", world / "test.jsonl", "--out", tmp_path / name)
    run("rank", "apply", *given)
    measured = ("--qrels", world / "test.jsonl", "--run", tmp_path / name, "--metrics", "pnr", "--json")
    (found,) = json.loads(run("evaluate", *measured, "--resamples", 100))["runs"].values()
    told = json.loads((ranker / "ranker.json").read_text())["figures"]["rankers"]["all"]
    assert found["pnr"]["value"] == pytest.approx(told["pnr"]["value"], abs=1e-12)
    first = (tmp_path / name).read_bytes()[:20]
    starts = {
        ".jsonl": b'{"query": ',
        ".csv": b"query,doc_id,score\n",
        ".tsv": b"query\tdoc_id\tscore\n",
        ".parquet": b"PAR1",
    }
    assert first.startswith(starts.get((tmp_path / name).suffix.lower(), first[:5] + b"\tQ0\t"))


def test_a_run_of_another_ending_is_refused_before_anything_is_scored(tmp_path):
    given = ("--ranker", tmp_path / "nowhere", "--index", tmp_path / "nowhere", "--run", tmp_path / "nowhere.run")
    with pytest.raises(
        DataError, match=r"a\.xlsx: cannot tell .* '\.xlsx'; write one of \.jsonl, \.ndjson, \.csv, \.tsv, "
    ):
        run("rank", "apply", *given, "--out", tmp_path / "a.xlsx")


def test_another_model_is_refused_and_nothing_is_written(world, other_index, ranker, tmp_path):
    out = tmp_path / "a.run"
    with pytest.raises(FingerprintError, match="fit the ranker again on this index"):
        run("rank", "apply", "--ranker", ranker, "--index", other_index, "--run", world / "test.jsonl", "--out", out)
    assert not out.exists()


def test_arguments_that_do_not_belong_together_are_refused(world, ranker, tmp_path):
    for given in (("--run", "a"), ("--query", "a"), ("--query", "a", "--docs", "b", "--out", "c"), ()):
        with pytest.raises(ConfigError, match="give --run and --out, or --query and --docs"):
            run("rank", "apply", "--ranker", ranker, "--index", world / "index", *given)
    with pytest.raises(DataError, match="is there already"):
        fit(world, ranker)
    with pytest.raises(ConfigError, match="did you mean 'num_leaves'"):
        fit(world, tmp_path / "new", "num_leafs=3")
    with pytest.raises(ConfigError, match="columns: bm25: no table has them; give it with --columns TABLE"):
        fit(world, tmp_path / "new", "columns=[bm25]")
    with pytest.raises(ConfigError, match="ndcg: no such measure"):
        fit(world, tmp_path / "new", "measure=ndcg")
    assert not (tmp_path / "new").exists()
