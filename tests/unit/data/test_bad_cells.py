"""Bad cells, lines and files: each gives one message, in its place, and never anything else."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsearch.data import lines, tables, values
from mmsearch.data.seen import SeenIds
from mmsearch.errors import TableError

READERS = {"v": tables.read_videos, "i": tables.read_interactions, "j": tables.read_judgments}
QUERY = {"query": "q", "doc_id": "d"}

BAD_CELLS = [
    ("v", {"doc_id": ""}, "doc_id: is empty"),
    ("v", {"doc_id": "  "}, "doc_id: is empty"),
    ("v", {"doc_id": None}, "doc_id: is empty"),
    ("v", {"doc_id": True}, "doc_id: True is not an id"),
    ("v", {"doc_id": 1.5}, "doc_id: 1.5 is not an id"),
    ("v", {"doc_id": "x" * 1025}, "doc_id: the id has 1,025 characters"),
    ("v", {"docid": "a"}, "doc_id: the column is missing; did you mean 'docid'"),
    ("v", {"doc_id": "a", "title": 5}, "title: 5 is not a text"),
    ("v", {"doc_id": "a", "title": "a\0b"}, "title: the text holds a NUL"),
    ("v", {"doc_id": "a", "title": "x\ud800"}, "title: invalid UTF-8 at character 2"),
    ("v", {"doc_id": "a", "content_ocr": "x" * 1_000_001}, "content_ocr: the text has 1,000,001 characters"),
    ("v", {"doc_id": "a", "cover": "../c.jpg"}, "cover: '../c.jpg' leaves the folder"),
    ("v", {"doc_id": "a", "cover": "x/../../c.jpg"}, "cover: 'x/../../c.jpg' leaves the folder"),
    ("v", {"doc_id": "a", "cover": "x" * 5000}, "cover: the path has 5,000 characters"),
    ("v", {"doc_id": "a", "asr": "../t.srt"}, "asr: '../t.srt' leaves the folder"),
    ("v", {"doc_id": "a", "frames": "f.jpg"}, "frames: 'f.jpg' is not a JSON list"),
    ("v", {"doc_id": "a", "frames": {"0": "f"}}, "frames: {'0': 'f'} is not a list of paths"),
    ("v", {"doc_id": "a", "frames": ["f.jpg", ""]}, "frames: the list holds an empty path"),
    ("v", {"doc_id": "a", "frames": ["f.jpg", 5]}, "frames: the list holds an empty path or something"),
    ("v", {"doc_id": "a", "frames": ["f"] * 10_001}, "frames: the list has 10,001 paths"),
    ("v", {"doc_id": "a", "duration_s": -0.5}, "duration_s: -0.5 is negative"),
    ("v", {"doc_id": "a", "duration_s": "1_0"}, "duration_s: '1_0' is not a number"),
    ("v", {"doc_id": "a", "duration_s": "nan"}, "duration_s: 'nan' is not a number"),
    ("v", {"doc_id": "a", "duration_s": float("inf")}, "duration_s: inf is not a finite number"),
    ("v", {"doc_id": "a", "duration_s": True}, "duration_s: True is not a number"),
    ("v", {"doc_id": "a", "published_at": "11/05/2023"}, "published_at: '11/05/2023' is not an ISO 8601 date"),
    ("v", {"doc_id": "a", "published_at": "1610101012345"}, "published_at: '1610101012345' is not an ISO 8601"),
    ("v", {"doc_id": "a", "published_at": 1610101012}, "published_at: 1610101012 is not an ISO 8601"),
    ("i", {"query": " ", "doc_id": "d"}, "query: is empty"),
    ("i", QUERY | {"position": 0}, "position: 0 is out of range; it must be 1 or more"),
    ("i", QUERY | {"position": "first"}, "position: 'first' is not a whole number"),
    ("i", QUERY | {"clicked": "maybe"}, "clicked: 'maybe' is not a truth value"),
    ("i", QUERY | {"clicked": 2}, "clicked: 2 is not a truth value"),
    ("i", QUERY | {"watch_s": -3}, "watch_s: -3 is negative"),
    ("j", QUERY, "grade: the column is missing"),
    ("j", QUERY | {"grade": -1}, "grade: -1 is out of range; it must be 0 or more"),
    ("j", QUERY | {"grade": 1.5}, "grade: 1.5 is not a whole number"),
    ("j", QUERY | {"grade": "1e400"}, "grade: '1e400' is not"),
    ("j", QUERY | {"grade": 10**30}, "grade: 1000000"),
    ("j", QUERY | {"grade": True}, "grade: True is not a whole number"),
]


@pytest.mark.parametrize(("table", "row", "message"), BAD_CELLS, ids=[m for _, _, m in BAD_CELLS])
def test_bad_cell(tmp_path: Path, table: str, row: dict, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n" + json.dumps(row))
    with pytest.raises(TableError) as error:
        list(READERS[table](path))
    assert str(error.value).startswith(f"{path}:2: {message}")
    assert len(str(error.value)) < len(str(path)) + 200


BAD_LINES = [
    (b'{"doc_id": "a"', "not valid JSON at character 15: Expecting"),
    (b'["doc_id"]', "the line must hold one JSON object"),
    (b'{"doc_id": "\xc3"}', "invalid UTF-8 at byte 13"),
    (b"[" * 200_000, "not usable JSON"),
    (b'{"doc_id": ' + b"9" * 5000 + b"}", "not usable JSON"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[m for _, m in BAD_LINES])
def test_bad_json_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"doc_id": "first"}\n' + line)
    with pytest.raises(TableError) as error:
        list(tables.read_videos(path))
    assert str(error.value).startswith(f"{path}:2: {message}")


BAD_CSV = [
    ("doc_id,title\na,b,c\n", "2: 3 cells where the header has 2"),
    ("doc_id,title\n\na\n", "3: 1 cells where the header has 2"),
    ('doc_id,title\n"a\nb","x"y\n', "2: not valid CSV"),
    ('doc_id,title\na,"never closed\nb,c\n', "2: not valid CSV: unexpected end of data"),
    ("doc_id,doc_id\na,b\n", "1: doc_id: the column stands there twice"),
    ("title\na\n", "1: doc_id: the column is missing; the columns here: title"),
    ("", " the file is empty"),
    ('"doc', "1: the header is not valid CSV"),
]


@pytest.mark.parametrize(("content", "message"), BAD_CSV, ids=[m for _, m in BAD_CSV])
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(TableError) as error:
        list(tables.read_videos(path))
    assert str(error.value).startswith(f"{path}:{message}")


def test_csv_with_bom_quotes_and_invalid_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfdoc_id,title\r\n"a","say ""hi""\r\nthere"\r\nb,\xff\r\n')
    rows = tables.read_videos(path)
    assert next(rows).title == 'say "hi"\r\nthere'
    with pytest.raises(TableError, match=r"t.csv:4: title: invalid UTF-8 at character 1"):
        next(rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_over_long_line_costs_only_itself(tmp_path: Path, suffix: str) -> None:
    long = b"x" * (lines.MAX_LINE_BYTES + 5)
    texts = [b"doc_id", b"a", long, b"b"] if suffix == ".csv" else [b'{"doc_id": "a"}', long, b'{"doc_id": "b"}']
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"\n".join(texts) + b"\n")
    rejected = tmp_path / "rejected.jsonl"
    videos = list(tables.read_videos(path, on_error="quarantine", rejected=rejected))
    assert [video.doc_id for video in videos] == ["a", "b"]
    [kept] = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert kept["where"].endswith(f":{3 if suffix == '.csv' else 2}")
    assert "longer than 67,108,864 bytes" in kept["reason"]
    assert len(kept["row"]) <= 1_000


def test_parquet_cells_that_python_does_not_know(tmp_path: Path) -> None:
    moments = pa.array([1_683_800_000_123_456_789], pa.timestamp("ns"))
    column = pa.array(["猫"]).dictionary_encode()
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"doc_id": pa.array([7]), "title": column, "published_at": moments}), path)
    [video] = tables.read_videos(path)
    assert (video.doc_id, video.title, video.published_at.microsecond) == ("7", "猫", 123_456)


def test_parquet_with_invalid_utf8_names_the_row(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff!"], pa.binary()).buffers())
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"doc_id": pa.array(["a", "b"]), "title": broken}), path)
    rows = tables.read_videos(path)
    assert next(rows).title == "ok"
    with pytest.raises(TableError, match=r"t.parquet:2: title: invalid UTF-8"):
        next(rows)


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -20])
def test_damaged_parquet_is_a_table_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"doc_id": [str(i) for i in range(2_000)]}), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        list(tables.read_videos(path))


def good_ids(path: Path, rejected: Path) -> list[str] | None:
    """Give the ids of the good rows; None when the whole table was refused by a TableError."""
    try:
        return [video.doc_id for video in tables.read_videos(path, on_error="quarantine", rejected=rejected)]
    except TableError:
        return None


def test_random_bytes_give_rows_or_table_errors(tmp_path: Path) -> None:
    rng = random.Random(0)
    seed = b'doc_id,title\n"a","b ""c"""\nd,\n{"doc_id": "e", "frames": ["x"]}\n'
    for trial in range(300):
        data = bytearray(seed)
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / f"t{rng.choice(['.csv', '.jsonl', '.tsv'])}"
        path.write_bytes(bytes(data))
        ids = good_ids(path, tmp_path / "r")
        assert ids is None or len(ids) == len(set(ids)), trial


def test_seen_ids_agree_with_a_dict() -> None:
    rng = random.Random(1)
    seen, first = SeenIds(), {}
    for line in range(50_000):
        name = f"id{rng.randrange(30_000)}"
        assert seen.first_line(name, line) == first.setdefault(name, line)


def test_shown_is_short_and_on_one_line() -> None:
    assert values.shown("a\nb") == r"'a\nb'"
    assert len(values.shown("x" * 10_000)) <= 64
