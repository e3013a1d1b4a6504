"""The verb `evaluate`, from the command line to what it prints."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.errors import ConfigError, DataError
from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.text import Tokenizer
from mmsearch.types import Space

onnx = pytest.importorskip("onnx")

SPACES = (Space("cover", 4, "aa"), Space("content", 4, "bb"))


def evaluate(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    path = tmp_path / "uniclip.txt"
    path.write_text("2\t猫\ta\t0.9\n0\t猫\tb\t0.1\n1\t猫\tc\tnan\n1\t狗\td\t0.5\n0\t狗\td\t0.5\n", encoding="utf-8")
    return path


def test_scored_file_as_json(scored: Path) -> None:
    report = json.loads(evaluate("--scored", scored, "--json", "--by", "grade"))
    run = report["runs"]["uniclip"]
    assert (run["pnr"]["concordant"], run["pnr"]["discordant"], run["pnr"]["tied"]) == (2, 1, 1)
    assert run["pnr"]["value"] == 2.5 / 1.5
    assert set(run) >= {"ndcg_exp@10", "map", "recall@10", "missing", "num_queries"}
    assert (run["oddities"]["repeated"], run["oddities"]["conflicting"], run["oddities"]["nan_scores"]) == (1, 1, 1)
    assert (report["relevant"], report["duplicates"]) == (2, "all")
    assert set(run["by_grade"]) == {"2>1", "2>0", "1>0"}


def test_scored_file_as_a_table(scored: Path) -> None:
    printed = evaluate("--scored", scored, "--duplicates", "first", "--metrics", "pnr, mrr")
    assert "uniclip" in printed
    assert "ndcg" not in printed
    assert "note: 1 judgments whose (query, doc_id) stood in an earlier row" in printed
    assert "relevant: grade 2 or more" in printed


def test_one_aspect_of_a_table_of_judgments_is_measured(tmp_path: Path) -> None:
    rows = [("a", 2, "overall"), ("b", 0, "overall"), ("a", 0, "quality"), ("b", 2, "quality")]
    table = [{"query": "q", "doc_id": d, "grade": g, "aspect": a, "score": ord("c") - ord(d)} for d, g, a in rows]
    (tmp_path / "j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (tmp_path / "x.run").write_text("q Q0 a 1 2 t\nq Q0 b 2 1 t\n")
    runs = ["--qrels", tmp_path / "j.jsonl", "--run", tmp_path / "x.run"]
    for given, name in ((runs, "x"), (["--scored", tmp_path / "j.jsonl"], "j")):
        for more, pairs in (([], (1, 0)), (["--aspect", "quality"], (0, 1))):
            run = json.loads(evaluate(*given, *more, "--json"))["runs"][name]
            assert (run["pnr"]["concordant"], run["pnr"]["discordant"], run["num_judged"]) == (*pairs, 2)


def test_runs_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "t.qrels").write_text("q 0 a 1\nq 0 b 0\n")
    (tmp_path / "good.run").write_text("q Q0 a 1 0.9 t\nq Q0 b 2 0.1 t\n")
    (tmp_path / "bad.run").write_text("q Q0 b 1 0.9 t\nq Q0 a 2 0.1 t\n")
    runs = ["--run", tmp_path / "good.run", "--run", tmp_path / "bad.run"]
    report = json.loads(evaluate("--qrels", tmp_path / "t.qrels", *runs, "--metrics", "mrr", "--json"))
    assert {name: run["mrr"]["value"] for name, run in report["runs"].items()} == {"good": 1.0, "bad": 0.5}
    assert report["relevant"] == 1
    assert set(report["runs"]["bad"]) >= {"mrr", "pnr"}
    [one] = report["comparisons"]
    assert (one["measure"], one["a"], one["b"], one["difference"], one["num_queries"]) == ("mrr", "good", "bad", 0.5, 1)
    assert set(one) >= {"low", "high", "p_value", "p_holm", "detectable", "queries_needed"}


@pytest.fixture
def three_runs(tmp_path: Path) -> list[object]:
    """Judgments of 30 queries, and runs with more and more noise: a, b, c."""
    rng = np.random.default_rng(0)
    rows = [(f"q{q}", f"d{d}", int(rng.integers(0, 3))) for q in range(30) for d in range(6)]
    (tmp_path / "t.qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, d, g in rows))
    found: list[object] = ["--qrels", tmp_path / "t.qrels"]
    for name, noise in (("a", 0.5), ("b", 0.6), ("c", 5.0)):
        path = tmp_path / f"{name}.run"
        path.write_text("".join(f"{q} Q0 {d} 1 {g + noise * rng.normal()} t\n" for q, d, g in rows))
        found += ["--run", path]
    return found


def test_every_pair_of_runs_is_compared(three_runs: list[object]) -> None:
    names = ["--metrics", "pnr, pnr(ties=ignore,min_gap=2)"]
    report = json.loads(evaluate(*three_runs, *names, "--json"))
    pairs = [(one["a"], one["b"]) for one in report["comparisons"]]
    assert pairs == [("a", "b"), ("a", "b"), ("a", "c"), ("a", "c"), ("b", "c"), ("b", "c")]
    assert set(report["runs"]["a"]) >= {"pnr", "pnr(ties=ignore,min_gap=2)"}
    by_name = json.loads(evaluate(*three_runs, *names, "--json", "--compare", "c"))["comparisons"]
    assert [(one["a"], one["b"]) for one in by_name[::2]] == [("a", "c"), ("b", "c")]
    assert json.loads(evaluate(*three_runs, "--json", "--compare", "none"))["comparisons"] == []


def test_comparisons_are_printed_with_their_power(three_runs: list[object]) -> None:
    printed = evaluate(*three_runs, "--metrics", "pnr")
    assert "p (Holm)" in printed
    assert [line.split("│")[1].strip() for line in printed.splitlines() if "−" in line and "│" in line] == [
        "a − b",
        "a − c",
        "b − c",
    ]
    told = r"note: pnr: 30 queries are too few \(power 0.8\) for a − b \([+-][\d.]+, where they show [\d.]+ or more"
    assert re.search(told, printed)
    assert "p (Holm)" not in evaluate(*three_runs, "--compare", "none")


def test_an_unknown_name_to_compare_with(three_runs: list[object]) -> None:
    with pytest.raises(ConfigError, match="cannot compare with 'd'; write all, best, none, or one of: a, b, c"):
        evaluate(*three_runs, "--compare", "d")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --index and --judgments, or --scored"),
        (["--index", "i"], "give --index and --judgments"),
        (["--scored", "s", "--qrels", "q"], "give --index and --judgments"),
        (["--scored", "s", "--metrics", "ndcg@5"], "did you mean ndcg_exp or ndcg_linear"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(*arguments)


def write_tower(folder: Path) -> None:
    """A query tower that answers every query with the same unit vector."""
    from onnx import TensorProto, helper, numpy_helper

    shape = ["batch", "length"]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["mask", "last"], ["one"], keepdims=1),
            helper.make_node("MatMul", ["one", "vector"], ["query"]),
        ],
        "tower",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("query", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(np.array([[1, 0, 0, 0]], np.float32), "vector"),
            numpy_helper.from_array(np.array([1], np.int64), "last"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    Tokenizer.train(["red panda"] * 3, vocab_size=400, min_count=1).save(folder / "tokenizer")
    spaces = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query"} for s in SPACES]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": spaces}))


def write_index(tmp_path: Path) -> tuple[Path, Path]:
    """The cover feature ranks a > b > c; content ranks the other way round and lacks b; d is not in the index."""
    write_tower(tmp_path / "tower")
    vectors = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 1, 0, 0]], np.float32)
    with GenerationWriter(tmp_path / "index", SPACES, dtype="float32") as writer:
        content = Embedded(vectors[::-1].copy(), np.array([True, False, True]))
        writer.add(["a", "b", "c"], {"cover": Embedded(vectors, np.ones(3, bool)), "content": content})
        writer.publish(query_tower=tmp_path / "tower", source={})
    table = tmp_path / "judgments.jsonl"
    rows = [("a", 2), ("b", 1), ("c", 0), ("d", 0)]
    judgments = [{"query": "red panda", "doc_id": d, "grade": g, "aspect": "overall"} for d, g in rows]
    table.write_text("".join(json.dumps(row) + "\n" for row in judgments))
    return tmp_path / "index", table


def test_features_of_an_index(tmp_path: Path) -> None:
    index, table = write_index(tmp_path)
    report = json.loads(evaluate("--index", index, "--judgments", table, "--json"))
    cover, content = report["features"]["cover"], report["features"]["content"]
    assert (cover["pnr"]["concordant"], cover["pnr"]["discordant"], cover["pnr"]["tied"]) == (5, 0, 0)
    assert (content["pnr"]["concordant"], content["pnr"]["discordant"], content["pnr"]["tied"]) == (2, 2, 1)
    assert (cover["missing"], content["missing"]) == (0.25, 0.5)
    assert (cover["recall@10"]["value"], report["relevant"]) == (1.0, 2)
    with pytest.raises(DataError, match="no judgment of the aspect 'cover'; there is: overall"):
        evaluate("--index", index, "--judgments", table, "--aspect", "cover")
    assert [(one["measure"], one["a"], one["b"]) for one in report["comparisons"]] == [("pnr", "cover", "content")]
    asked = json.loads(evaluate("--index", index, "--judgments", table, "--json", "--compare", "all"))["comparisons"]
    assert [one["measure"] for one in asked] == ["pnr", "ndcg_exp@10", "map", "recall@10"]


def test_judged_videos_that_are_not_in_the_index_are_told(tmp_path: Path) -> None:
    index, table = write_index(tmp_path)
    given = ["--index", index, "--judgments", table]
    notes = [line for line in evaluate(*given).splitlines() if line.startswith("note: ")]
    assert "note: 1 judgments of videos that are not in the index; unscored" in notes
    assert "note: content: 1 judgments without a score; unscored: ranked last, tied among themselves" in notes
    rows = [{"query": "red panda", "doc_id": d, "grade": g} for d, g in (("nope1", 2), ("nope2", 0))]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for depth in ([], ["--depth", 3]):
        with pytest.raises(DataError, match=r"judgments.jsonl: none of its 2 judged videos is in the index .*'nope1'"):
            evaluate(*given, *depth)


def test_the_whole_index_is_ranked_to_a_depth(tmp_path: Path) -> None:
    """Of the judged documents only c and d are left: what was a judged document is now an unjudged one above them."""
    index, table = write_index(tmp_path)
    judgments = [{"query": "red panda", "doc_id": d, "grade": g} for d, g in (("c", 2), ("d", 0))]
    table.write_text("".join(json.dumps(row) + "\n" for row in judgments))
    names = ["--metrics", "pnr,mrr,recall@2", "--json"]
    judged = json.loads(evaluate("--index", index, "--judgments", table, *names))["features"]
    assert (judged["cover"]["mrr"]["value"], judged["cover"]["recall@2"]["value"]) == (1.0, 1.0)
    ranked = json.loads(evaluate("--index", index, "--judgments", table, *names, "--depth", "10"))["features"]
    assert (ranked["cover"]["mrr"]["value"], ranked["cover"]["recall@2"]["value"]) == (1 / 3, 0.0)
    assert (ranked["cover"]["oddities"]["unjudged"], ranked["cover"]["num_judged"]) == (2, 2)
    assert (ranked["cover"]["oddities"]["missing_scores"], ranked["cover"]["oddities"]["nan_scores"]) == (0, 0)
    assert [found["cover"]["oddities"]["not_in_index"] for found in (judged, ranked)] == [1, 1]
    assert (ranked["content"]["mrr"]["value"], ranked["content"]["oddities"]["unjudged"]) == (1.0, 1)
    assert ranked["cover"]["pnr"] == judged["cover"]["pnr"]
    shallow = json.loads(evaluate("--index", index, "--judgments", table, *names, "--depth", "1"))["features"]
    assert (shallow["cover"]["mrr"]["value"], shallow["cover"]["oddities"]["unjudged"]) == (1 / 2, 1)


def test_twenty_thousand_rows_in_a_second(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = zip(rng.integers(0, 3, 20_000), rng.integers(0, 2_000, 20_000), rng.random(20_000), strict=True)
    path = tmp_path / "model.txt"
    path.write_text("".join(f"{g}\tquery {q}\tdoc{i}\t{s}\n" for i, (g, q, s) in enumerate(rows)))
    command = [sys.executable, "-c", "from mmsearch.cli.main import main; main()", "evaluate", "--scored", str(path)]
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    used = os.times()
    spent = used.children_user + used.children_system - before.children_user - before.children_system
    assert spent < 1.5  # processor seconds: the wall clock of a busy machine tells nothing
