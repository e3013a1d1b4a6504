"""`mmsearch rank fit` and `apply`: one folder, runs in order, the same figures as `mmsearch evaluate`."""

import json
import math

import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.errors import ConfigError, DataError, FingerprintError
from mmsearch.metrics.files import read_run

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
    with pytest.raises(DataError, match=r"fitted with the columns bm25; give their table \(--columns\)"):
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
