"""The verbs `score` and `search`, on a real index."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from mmsearch.cli import index as index_verbs
from mmsearch.cli import score, search
from mmsearch.errors import DataError
from mmsearch.index.recall.search import ExactSearch
from mmsearch.scoring import FeatureScorer

app = typer.Typer()
app.command("score")(score.run)
app.command("search")(search.run)


def call(*arguments: str, stdin: bytes | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def docs(tmp_path) -> str:
    path = tmp_path / "docs.txt"
    path.write_bytes("\ufeffv1\r\n\nv3\nnobody\n".encode())
    return str(path)


def test_score_prints_a_header_and_a_line_for_every_candidate(index_dir, docs):
    lines = call("score", "--index", str(index_dir), "--query", "red panda", "--docs", docs).splitlines()
    features = FeatureScorer.open(index_dir).score("red panda", ["v1", "v3", "nobody"])
    assert lines[0] == "doc_id\tcover\tcontent"
    assert lines[1] == "v1\t" + "\t".join(f"{value:.6f}" for value in features.values[0])
    assert lines[2:] == ["v3\t\t", "nobody\t\t"]


def test_why_candidates_have_no_feature_is_told(index_dir, docs, caplog):
    for query in ("red panda", " "):
        call("score", "--index", str(index_dir), "--query", query, "--docs", docs)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "2 of 3 candidates have no feature at all: 1 are not in the index",
        "3 of 3 candidates have no feature at all: the query is blank",
    ]


def test_score_prints_json_and_reads_stdin(index_dir):
    arguments = ["score", "--index", str(index_dir), "--query", "大熊猫", "--docs", "-"]
    out = json.loads(call(*arguments, "--json", stdin=b"v0\nv3"))
    assert out == json.loads(call(*arguments, "--format", "json", stdin=b"v0\nv3\n"))
    assert (out["query"], out["generation"][:8]) == ("大熊猫", "g000001-")
    assert [doc["doc_id"] for doc in out["docs"]] == ["v0", "v3"]
    assert out["docs"][1]["features"] == {"cover": None, "content": None}
    assert set(out["docs"][0]["features"]) == {"cover", "content"}


def test_ids_cannot_break_the_table(index_dir):
    features = FeatureScorer.open(index_dir).score("x", ["a\tb\\", "v0"])
    lines = score.to_tsv(features)
    assert lines[1] == "a\\tb\\\\\t\t"
    assert [len(line.split("\t")) for line in lines] == [3, 3, 3]


@pytest.mark.parametrize(
    ("content", "what"), [(b"v1\n\xff\xfe\n", r":2: not UTF-8"), (b"a\n" + b"x" * 70_000, r":2: longer than 65536")]
)
def test_a_bad_list_of_ids_is_told_with_its_line(tmp_path, content, what):
    (tmp_path / "ids").write_bytes(content)
    with pytest.raises(DataError, match=what):
        score.read_ids(tmp_path / "ids")
    with pytest.raises(DataError, match="No such file"):
        score.read_ids(tmp_path / "none")


def test_search_finds_what_scores_highest(index_dir):
    out = json.loads(call("search", "red panda", "--index", str(index_dir), "-k", "5", "--format", "json"))
    features = FeatureScorer.open(index_dir).score("red panda", [f"v{i}" for i in range(30)])
    values, missing = features.column("content")
    best = sorted((i for i in range(30) if not missing[i]), key=lambda i: -values[i])[:5]
    assert [doc["doc_id"] for doc in out["docs"]] == [f"v{i}" for i in best]
    assert out["docs"][0]["features"]["content"] == pytest.approx(float(values[best[0]]), abs=1e-6)


def test_search_by_a_faiss_index_finds_the_same(index_dir):
    arguments = ["search", "red panda", "--index", str(index_dir), "-k", "5", "--format", "json"]
    with pytest.raises(DataError, match=r"no hnsw index of space 'content' was built .*: mmsearch index ann"):
        call(*arguments, "--ann", "hnsw")
    queries = index_dir.with_name("queries.txt")
    queries.write_text("red panda\n大熊猫\n", encoding="utf-8")
    built = CliRunner().invoke(index_verbs.app, ["ann", str(index_dir), f"queries={queries}", "--json"])
    measured = [ann["recall"] for ann in json.loads(built.stdout)]
    assert {(recall["measured_with"], recall["num_queries"], recall["value"]) for recall in measured} == {
        ("queries", 2, 1.0)
    }
    assert json.loads(call(*arguments, "--ann", "hnsw")) == json.loads(call(*arguments))


def test_search_shows_titles_as_they_are(index_dir, tmp_path):
    videos = tmp_path / "videos.jsonl"
    titles = {f"v{i}": f"[red]title {i}[/red]\x1b[2J" for i in range(29)}
    videos.write_text("\n".join(json.dumps({"doc_id": doc_id, "title": t}) for doc_id, t in titles.items()))
    shown = call("search", "tree", "--index", str(index_dir), "--space", "cover", "-k", "30", "--videos", str(videos))
    assert "[red]title 8[/red]" in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1 + 26


@pytest.mark.parametrize("width", [40, 60, 80, 300])
def test_nothing_is_cut_in_a_narrow_window(publish_wide, tmp_path, monkeypatch, width):
    """Where the columns do not stand side by side, the features stand below each other; ids stay whole."""
    folder, videos = publish_wide(), tmp_path / "videos.jsonl"
    scorer = FeatureScorer.open(folder)
    features = search.recall(scorer, ExactSearch(scorer.index), "red", "content", 3)
    videos.write_text("\n".join(json.dumps({"doc_id": i, "title": f"title of {i}"}) for i in features.doc_ids))
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", str(width))
    for more in ([], ["--videos", str(videos)]):
        words = f"search red --index {folder} -k 3 --all-features --space content".split()
        shown = click.unstyle(CliRunner().invoke(app, [*words, *more], catch_exceptions=False).stdout)
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
        assert "…" not in shown
        seen = shown.split()
        for doc_id, row in features.to_rows():
            assert doc_id in seen
            assert all(f"{value:.3f}" in seen for value in row.values() if value is not None)
        assert ("score" in seen) is (width < 100)


def test_a_blank_query_finds_nothing(index_dir):
    assert json.loads(call("search", " ", "--index", str(index_dir), "--format", "json"))["docs"] == []


def test_an_unknown_space_is_told(index_dir):
    with pytest.raises(DataError, match="no space 'frames' in the index; there are: cover, content"):
        call("search", "tree", "--index", str(index_dir), "--space", "frames")


@pytest.mark.parametrize("verb", ["score", "search"])
def test_scoring_and_searching_import_no_torch(index_dir, docs, verb):
    rest = ["--query", "tree", "--docs", docs] if verb == "score" else ["tree"]
    program = (
        "import sys\n"
        "from mmsearch.cli.main import main\n"
        f"sys.argv = {['mmsearch', verb, '--index', str(index_dir), *rest]!r}\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "v1" in done.stdout


def test_explain_prints_why(publish_wide, docs):
    asked = ["score", "--index", str(publish_wide()), "--query", "red \udcff panda", "--docs", docs, "--explain"]
    told = [json.loads(line) for line in call(*asked).splitlines()]
    assert [one["doc_id"] for one in told] == ["v1", "v3", "nobody"]
    assert told[0]["tokens"] == ["red", "panda"]
    reasons = [{feature["name"]: feature["why_missing"] for feature in one["features"]} for one in told]
    assert reasons[0]["content.title"] == "no modality"
    assert set(reasons[2].values()) == {"unknown document"}
    assert told[0]["query"] == "red ? panda"


def test_derived_features_are_printed_and_no_space_to_search_in(publish_wide, docs):
    folder = str(publish_wide())
    header = call("score", "--index", folder, "--query", "red panda", "--docs", docs).splitlines()[0]
    assert header.split("\t")[-3:] == ["content.poly", "max_modality", "spread"]
    found = json.loads(call("search", "red panda", "--index", folder, "--space", "content", "--format", "json"))
    assert "spread" in found["docs"][0]["features"]
    with pytest.raises(DataError, match="no space 'spread'"):
        call("search", "red panda", "--index", folder, "--space", "spread")


def test_a_missing_index_ends_with_one_message_and_its_exit_code(tmp_path, docs):
    program = "from mmsearch.cli.main import main; main()"
    for index in (tmp_path, docs):  # a folder without an index, and a file
        command = [sys.executable, "-c", program, "score", "--index", str(index), "--query", "x", "--docs", docs]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 3
        assert "no index here" in done.stderr
        assert "Traceback" not in done.stderr
