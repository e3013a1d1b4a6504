"""Tables: the same rows out of three formats, and every bad row named by file, line and column."""

import csv
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsearch.data.tables import read_interactions, read_judgments, read_videos
from mmsearch.errors import ConfigError, TableError
from mmsearch.types import Interaction, Judgment, Video

ROWS = [
    {"doc_id": "a", "title": "猫, “quoted”\nsecond line", "frames": ["f/1.jpg", "f/2.jpg"], "duration_s": 1.5},
    {"doc_id": "b", "cover": "covers/b.jpg", "asr": "b.srt", "published_at": "2023-05-11T18:30:00+08:00"},
]


def write(path: Path, rows: list[dict]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows]), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(names)
            for row in rows:
                cells = (row.get(n, "") for n in names)
                writer.writerow([json.dumps(c) if isinstance(c, list) else c for c in cells])
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_gives_the_same_videos(tmp_path: Path, suffix: str) -> None:
    videos = list(read_videos(write(tmp_path / f"videos{suffix}", ROWS)))
    assert videos == [
        Video("a", ROWS[0]["title"], frames=(f"{tmp_path}/f/1.jpg", f"{tmp_path}/f/2.jpg"), duration_s=1.5),
        Video(
            "b",
            cover=f"{tmp_path}/covers/b.jpg",
            asr=f"{tmp_path}/b.srt",
            published_at=datetime.fromisoformat("2023-05-11T18:30:00+08:00"),
        ),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_interactions_and_judgments_take_their_defaults(tmp_path: Path, suffix: str) -> None:
    clicks = write(tmp_path / f"clicks{suffix}", [{"query": "猫", "doc_id": "7", "watch_s": ""}])
    assert list(read_interactions(clicks)) == [Interaction("猫", "7", clicked=True)]
    grades = write(tmp_path / f"grades{suffix}", [{"query": "猫", "doc_id": "7", "grade": "2", "aspect": " "}])
    assert list(read_judgments(grades)) == [Judgment("猫", "7", 2, "overall")]


def test_cells_are_read_by_their_column(tmp_path: Path) -> None:
    row = {"query": "q", "doc_id": 12, "shown_at": "2023-05-11", "position": 3.0, "clicked": 0, "watch_s": 2}
    [found] = read_interactions(write(tmp_path / "t.jsonl", [row]))
    assert found == Interaction("q", "12", datetime(2023, 5, 11, tzinfo=UTC), 3, False, 2.0)


def test_paths_and_transcripts(tmp_path: Path) -> None:
    rows = [
        {"doc_id": "a", "cover": "/else/where.jpg", "video": "s3://bucket/v.mp4", "asr": "spoken words end in .srt\nx"},
        {"doc_id": "b", "cover": "./x/b..c.jpg", "asr": "hdfs://n/t.VTT"},
    ]
    first, second = read_videos(write(tmp_path / "videos.jsonl", rows))
    assert (first.cover, first.video, first.asr) == (rows[0]["cover"], rows[0]["video"], rows[0]["asr"])
    assert (second.cover, second.asr) == (f"{tmp_path}/x/b..c.jpg", "hdfs://n/t.VTT")


def test_a_relative_table_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "videos.jsonl", [{"doc_id": "a", "cover": "c.jpg"}])
    monkeypatch.chdir(tmp_path)
    assert next(read_videos("videos.jsonl")).cover == f"{tmp_path}/c.jpg"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_duplicate_names_both_lines(tmp_path: Path, suffix: str) -> None:
    table = write(tmp_path / f"videos{suffix}", [{"doc_id": "a"}, {"doc_id": "b"}, {"doc_id": "a"}])
    first, second = (2, 4) if suffix == ".csv" else (1, 3)
    with pytest.raises(TableError, match=f"{suffix}:{second}: doc_id: 'a' is already the id of line {first};"):
        list(read_videos(table))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_absent_column_is_guessed(tmp_path: Path, suffix: str) -> None:
    table = write(tmp_path / f"t{suffix}", [{"query": "q", "docid": "a", "grade": "1"}])
    with pytest.raises(TableError, match=r"doc_id: the column is missing; did you mean 'docid'\?"):
        list(read_judgments(table))


def test_a_misspelt_optional_column_warns_and_other_columns_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write(tmp_path / "t.jsonl", [{"doc_id": "a", "titel": "x", "language": "en"}, {"doc_id": "b", "titel": ""}])
    with caplog.at_level(logging.DEBUG, "mmsearch"):
        assert [video.title for video in read_videos(table)] == [None, None]
    assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING"]
    assert "did you mean 'title'?" in caplog.text


def test_quarantine_keeps_every_bad_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "videos.jsonl"
    table.write_bytes(
        b'{"doc_id": "a"}\n{broken\n\n{"doc_id": "b", "duration_s": -1}\n{"doc_id": "\xff"}\n{"doc_id": 5}'
    )
    rejected = tmp_path / "out" / "rejected.jsonl"
    videos = list(read_videos(table, on_error="quarantine", rejected=rejected))
    assert [video.doc_id for video in videos] == ["a", "5"]
    kept = [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()]
    assert [(row["where"], row["column"]) for row in kept] == [
        (f"{table}:2", None),
        (f"{table}:4", "duration_s"),
        (f"{table}:5", None),
    ]
    assert kept[0]["row"] == "{broken"
    assert kept[1]["row"] == {"doc_id": "b", "duration_s": -1}
    assert "bad rows left out: 3" in caplog.text


def test_an_empty_quarantine_replaces_an_old_one(tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    rejected.write_text("old")
    list(read_videos(write(tmp_path / "v.csv", [{"doc_id": "a"}]), on_error="quarantine", rejected=rejected))
    assert rejected.read_text() == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rejected.jsonl", "v.csv"]


def test_arguments_are_checked_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read_videos(tmp_path / "absent.csv")
    with pytest.raises(TableError, match="no such file"):
        read_videos(tmp_path / "absent")
    (tmp_path / "videos.xlsx").touch()
    with pytest.raises(TableError, match="cannot tell the format"):
        read_videos(tmp_path / "videos.xlsx")
    with pytest.raises(ConfigError, match="needs a file"):
        read_videos(tmp_path / "absent.csv", on_error="quarantine")
