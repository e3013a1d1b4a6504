"""Transcripts that are too long or hold what no text may: one of them does not end a table."""

from __future__ import annotations

import json
import logging
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsearch.data import lines, values
from mmsearch.data.media import MediaLimits
from mmsearch.data.tables import read_videos
from mmsearch.data.transcripts import transcript_text
from mmsearch.errors import TableError

ODD = {"half": "a \ud800 b", "nul": "a\0b", "pair": "a \ud83d\ude00 b", "plain": "a b", "long": "ab" * 600_000}


def rows_of(path, caplog):
    with caplog.at_level(logging.WARNING, "mmsearch"):
        return {video.doc_id: video.asr for video in read_videos(path)}


def test_they_are_cut_or_mended_and_counted(tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"doc_id": name, "asr": text}) + "\n" for name, text in ODD.items()))
    found = rows_of(path, caplog)
    assert found == {
        "half": "a \ufffd b",
        "nul": "a\ufffdb",
        "pair": "a 😀 b",
        "plain": "a b",
        "long": "ab" * 500_000,
    }
    assert "transcripts cut at 1,000,000 characters: 1" in caplog.text
    assert "which became U+FFFD: 2" in caplog.text


def test_no_warning_where_nothing_was_changed(tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    path.write_text('{"doc_id": "a", "asr": "' + "b" * values.MAX_TEXT_CHARS + '"}\n')
    assert len(rows_of(path, caplog)["a"]) == values.MAX_TEXT_CHARS
    assert caplog.text == ""


def test_in_other_formats_too(tmp_path, caplog):
    (tmp_path / "t.csv").write_bytes(b"doc_id,asr\nbytes,a \xff b\n")
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a \xff b"], pa.binary()).buffers())
    pq.write_table(pa.table({"doc_id": pa.array(["bytes"]), "asr": broken}), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert rows_of(tmp_path / name, caplog) == {"bytes": "a \ufffd b"}
    assert caplog.text.count("which became U+FFFD: 1") == 2


@pytest.mark.parametrize("column", ["title", "content_ocr"])
@pytest.mark.parametrize("text", ["half \ud800", "nul \0"])
def test_other_texts_are_bad_cells_as_ever(tmp_path, column, text):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"doc_id": "a", column: text}) + '\n{"doc_id": "b"}\n')
    with pytest.raises(TableError, match=column):
        list(read_videos(path))
    good = list(read_videos(path, on_error="quarantine", rejected=tmp_path / "rejected.jsonl"))
    assert [video.doc_id for video in good] == ["b"]


def test_ten_million_escaped_characters_are_one_line_and_memory_is_bounded(tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    with path.open("w") as file:
        file.write('{"doc_id": "a", "asr": "')
        for _ in range(100):
            file.write("\\u8fd9" * 100_000)
        file.write('"}\n')
    assert path.stat().st_size < lines.MAX_LINE_BYTES
    tracemalloc.start()
    assert rows_of(path, caplog) == {"a": "这" * values.MAX_TEXT_CHARS}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * lines.MAX_LINE_BYTES


def test_the_files_of_transcripts_too(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([[0, 1, "half \ud800"], [1, 2, "nul \0"]]))
    assert transcript_text(str(path), MediaLimits()) == "half \ufffd\nnul \ufffd"
