"""`mmsearch prepare` at the command line: arguments, what it prints, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.config import load_settings
from mmsearch.data.prepare import Summary
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, PartialResultError, TableError

CONFIGS = Path(__file__).parents[3] / "configs" / "prepare"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = []
    for n in range(5):
        Image.new("RGB", (40, 30), (50 * n, 0, 0)).save(tmp_path / f"{n}.jpg")
        rows.append({"doc_id": f"v{n}", "title": f"film {n}", "cover": f"{n}.jpg"})
    path = tmp_path / "videos.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def invoke(*words: object):
    return CliRunner().invoke(app, ["prepare", *map(str, words)])


def test_prepare_and_prepare_again(table, tmp_path):
    first = invoke(table, "--out", tmp_path / "out", CONFIGS / "demo.yaml", "image_size=32", "num_workers=1")
    assert first.exit_code == 0, first.output
    assert "videos\t5" in first.stdout
    assert "cover\t5" in first.stdout
    assert PreparedCorpus.open(tmp_path / "out").settings.image_size == 32
    again = invoke(table, "--out", tmp_path / "out", CONFIGS / "demo.yaml", "image_size=32", "num_workers=2")
    assert "reused rows\t5" in again.stdout


def test_rejected_videos_make_the_result_partial(table, tmp_path):
    (tmp_path / "2.jpg").write_bytes(b"no picture at all")
    result = invoke(table, "--out", tmp_path / "out", "num_workers=1")
    assert isinstance(result.exception, PartialResultError)
    assert result.exception.exit_code == 5
    assert "4 videos are prepared; 1 rejections (not_an_image 1) are listed in" in str(result.exception)
    assert PreparedCorpus.open(tmp_path / "out").num_videos == 4


def test_what_cannot_begin(table, tmp_path):
    wrong = invoke(table, "--out", tmp_path / "out", "image_sise=32")
    assert isinstance(wrong.exception, ConfigError)
    assert "did you mean 'image_size'" in str(wrong.exception)
    assert not (tmp_path / "out").exists()
    absent = invoke(tmp_path / "absent.csv", "--out", tmp_path / "out")
    assert isinstance(absent.exception, TableError)
    assert "--out" in invoke("--help").stdout


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_configs_are_settings(path):
    other_sizes = {"covers_336.yaml": 336, "demo.yaml": 48, "demo_llm.yaml": 48}
    assert load_settings(PrepareSettings, path).image_size == other_sizes.get(path.name, 224)


def test_what_fell_back_to_greedy_sentences_is_printed_and_makes_the_result_partial(table, tmp_path, monkeypatch):
    told = {"key_sentences": {"greedy": 3, "select": 2}, "fallbacks": {"the model did not answer": 1, "odd answer": 2}}
    summary = Summary(5, 5, 5, 0, **told, num_unanswered=1)
    monkeypatch.setattr("mmsearch.data.prepare.prepare", lambda *_: summary)
    result = invoke(table, "--out", tmp_path / "out")
    assert "fell back to greedy: the model did not answer\t1 of 5\n" in result.stdout
    assert "fell back to greedy: odd answer\t2 of 5\n" in result.stdout
    assert isinstance(result.exception, PartialResultError)
    assert "1 of 5 videos got greedy key sentences" in str(result.exception)
