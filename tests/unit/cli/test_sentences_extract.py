"""mmsearch sentences extract: a table in, JSON lines out."""

import json
import logging

import pytest
from typer.testing import CliRunner

from mmsearch.cli.sentences import app
from mmsearch.errors import ConfigError, PartialResultError, TableError
from mmsearch.sentences import DocumentFrequencies

ROWS = [
    {"doc_id": "a", "title": "red panda", "asr": "Hello all. The red panda eats bamboo. Please subscribe now."},
    {"doc_id": "b", "title": "short", "asr": "Short."},
    {"doc_id": "c", "title": "silent"},
    {"doc_id": "d", "title": "字幕", "asr": "d.srt"},
]
BUDGET = ["max_chars=40", "max_sentence_chars=40", "segmenter=bigrams"]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "d.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\n你好，世界。\n", encoding="utf-8")
    path = tmp_path / "videos.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def extract(*arguments, printed=None):
    result = CliRunner().invoke(app, ["extract", *map(str, arguments)])
    if printed is not None:
        printed += [json.loads(line) for line in result.stdout.splitlines()]
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_video_with_a_transcript_gives_a_line(table):
    assert extract(table, *BUDGET) == [
        {"doc_id": "a", "method": "greedy", "numbers": [1], "sentences": ["The red panda eats bamboo."]},
        {"doc_id": "b", "method": "whole", "numbers": [0], "sentences": ["Short."]},
        {"doc_id": "d", "method": "whole", "numbers": [0], "sentences": ["你好，世界。"]},
    ]


def test_counts_of_a_larger_corpus_can_be_given(table, tmp_path):
    counts = DocumentFrequencies.of(["red panda"] * 50, "bigrams")
    counts.save(tmp_path / "df.json")
    lines = extract(table, *BUDGET, f"frequencies={tmp_path / 'df.json'}")
    assert lines[0]["sentences"] == ["The red panda eats bamboo."]


def test_what_fell_back_says_why(table):
    server = ["method=select", "model.base_url=http://127.0.0.1:1/v1", "model.model=none"]
    printed = []
    with pytest.raises(PartialResultError, match=r"1 of 3 videos got greedy.*did not answer 1.*asks for these again"):
        extract(table, *BUDGET, *server, "model.max_tries=1", "give_up_after_s=0", printed=printed)
    assert (printed[0]["method"], printed[0]["fallback"]) == ("greedy", "the model did not answer")
    assert len(printed) == 3


def test_a_transcript_that_is_not_there_costs_its_video_alone(table, caplog):
    (table.parent / "d.srt").unlink()
    printed = []
    with pytest.raises(PartialResultError, match=r"1 videos of .* are left out"):
        extract(table, *BUDGET, printed=printed)
    assert [line["doc_id"] for line in printed] == ["a", "b"]
    assert caplog.text.count("'d': left out, its transcript cannot be read: missing_file") == 1


def test_a_table_without_transcripts_is_told(tmp_path, caplog):
    (tmp_path / "v.jsonl").write_text('{"doc_id": "a", "title": "t"}\n{"doc_id": "b"}\n')
    with caplog.at_level(logging.WARNING):
        assert extract(tmp_path / "v.jsonl", *BUDGET) == []
    assert caplog.text.count("0 of 2 videos have a transcript (column `asr`)") == 1


def test_wrong_settings_and_tables_are_named(table, tmp_path):
    with pytest.raises(ConfigError, match="needs a model"):
        extract(table, "method=likelihood")
    with pytest.raises(ConfigError, match="did you mean 'max_chars'"):
        extract(table, "max_char=3")
    with pytest.raises(TableError, match=r"absent\.jsonl"):
        extract(tmp_path / "absent.jsonl")
