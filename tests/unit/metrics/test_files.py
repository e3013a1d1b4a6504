"""Files of judgments and runs, and their errors."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsearch.errors import TableError
from mmsearch.metrics.files import read_grades, read_run, read_scored
from mmsearch.metrics.join import Grades, Scores

GRADES = Grades(["猫 吃", "r"], ["d1", "d2"], [2, 0], [])
RUN = Scores(["猫 吃", "r"], ["d1", "d2"], [0.5, None])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_same_judgments_in_every_format(tmp_path: Path) -> None:
    rows = [{"query": "猫 吃", "doc_id": "d1", "grade": 2}, {"query": "r", "doc_id": "d2", "grade": 0}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "g.parquet")
    files = [
        tmp_path / "g.parquet",
        write(tmp_path / "g.jsonl", "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)),
        write(tmp_path / "g.tsv", "grade\tdoc_id\tquery\n2\td1\t猫 吃\n0\td2\tr\n"),
        write(tmp_path / "plain.tsv", "猫 吃\td1\t2\nr\td2\t0\n"),
        write(tmp_path / "g.csv", 'query,doc_id,grade\n"猫 吃",d1,2\nr,d2,0\n'),
        write(tmp_path / "g.qrels", "猫 吃\t0\td1\t2\r\nr 0 d2 0\r\n"),
    ]
    for file in files:
        assert read_grades(file) == GRADES, file


def test_the_same_run_in_every_format(tmp_path: Path) -> None:
    rows = [{"query": "猫 吃", "doc_id": "d1", "score": 0.5}, {"query": "r", "doc_id": "d2", "score": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    files = [
        tmp_path / "r.parquet",
        write(tmp_path / "r.jsonl", "\n".join(json.dumps(row) for row in rows)),
        write(tmp_path / "r.tsv", "猫 吃\td1\t0.5\nr\td2\t\n"),
        write(tmp_path / "r.run", "猫 吃\tQ0\td1\t1\t0.5\ttag\nr\tQ0\td2\t1\t\ttag\n"),
    ]
    for file in files:
        assert read_run(file) == RUN, file
    assert read_run(write(tmp_path / "t.run", "7 Q0 d1 1 1e-3 x")) == Scores(["7"], ["d1"], [0.001])


def test_scored_files(tmp_path: Path) -> None:
    text = "2\t猫 吃\td1\t0.5\n0\tr\td2\t\n"
    for name in ("public.txt", "public.tsv"):
        assert read_scored(write(tmp_path / name, text)) == (GRADES, [0.5, None])
    grouped = write(tmp_path / "g.tsv", "query\tdoc_id\tgrade\tscore\tgroup\nq\td\t1\t0.5\tnews\n")
    assert read_scored(grouped)[0].groups == ["news"]


BAD = [
    ("a.jsonl", '{"query": "q", "doc_id": "d"}', "1: grade: is missing; the columns here: query, doc_id"),
    ("a.jsonl", '{"query": "", "doc_id": "d", "grade": 1}', "1: query: '' is not a name"),
    ("a.jsonl", '{"query": "q", "doc_id": true, "grade": 1}', "1: doc_id: 'True' is not a name"),
    ("a.jsonl", '{"query": "q", "doc_id": "d", "grade": 1.5}', "1: grade: '1.5' is not a whole number"),
    ("a.jsonl", '{"query": "q", "doc_id": "d", "grade": NaN}', "1: grade: 'nan' is not a whole number"),
    ("a.jsonl", "{", "1: not valid JSON"),
    ("a.jsonl", "[]", "1: the line must hold one JSON object"),
    ("a.jsonl", "", " there is no judgment in it"),
    ("a.tsv", "q\td\t1\nq\td\n", "2: 2 fields; 3 are needed: query doc_id grade"),
    ("a.qrels", "q 0 d\n", "1: 3 fields; TREC text needs 4: query … doc_id grade"),
    ("a.tsv", "query\tdoc_id\tgrade\tgroup\nq\td\t1\tx\nq\td\tlow\tx\n", "3: grade: 'low' is not a whole number"),
    ("a.parquet", "no", " cannot be read as Parquet"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=[m for _, _, m in BAD])
def test_bad_judgments_are_named_by_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(TableError) as error:
        read_grades(write(tmp_path / name, text))
    assert str(error.value).startswith(f"{tmp_path / name}:{message}")


def test_one_aspect_is_read_and_not_the_others_with_it(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "doc_id": "a", "grade": 2, "score": 0.5, "aspect": None},
        {"query": "q", "doc_id": "b", "grade": 0, "score": 0.7, "aspect": "overall"},
        {"query": "q", "doc_id": "a", "grade": 0, "score": 0.5, "aspect": "quality"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "g.parquet")
    lines = "".join(f"{r['query']},{r['doc_id']},{r['grade']},{r['score']},{r['aspect'] or ' '}\n" for r in rows)
    files = [
        tmp_path / "g.parquet",
        write(tmp_path / "g.jsonl", "\n".join(json.dumps(row) for row in rows)),
        write(tmp_path / "g.csv", f"query,doc_id,grade,score,aspect\n{lines}"),
    ]
    for file in files:
        assert read_grades(file) == Grades(["q", "q"], ["a", "b"], [2, 0], []), file
        assert read_grades(file, "quality") == Grades(["q"], ["a"], [0], [])
        assert read_scored(file) == (Grades(["q", "q"], ["a", "b"], [2, 0], []), [0.5, 0.7])
        with pytest.raises(
            TableError, match="aspect: there is no judgment of the aspect 'x'; there is: overall, quality"
        ):
            read_grades(file, "x")


@pytest.mark.parametrize(("name", "parts"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ",")])
def test_a_header_with_another_separator_is_told(tmp_path: Path, name: str, parts: str) -> None:
    file = write(tmp_path / name, "query,doc_id,grade\nq,a,1\n".replace(",", parts))
    with pytest.raises(TableError, match=f"{name}:1: .*(semicolons|tabs|commas) part the columns here"):
        read_grades(file)


def test_bad_bytes_scores_and_groups(tmp_path: Path) -> None:
    (tmp_path / "b.run").write_bytes(b"q Q0 d 1 0.5 t\nq Q0 \xff 1 0.5 t\n")
    with pytest.raises(TableError, match=r"b.run:2: invalid UTF-8 at byte 6"):
        read_run(tmp_path / "b.run")
    with pytest.raises(TableError, match=r"c.run:1: score: 'high' is not a number"):
        read_run(write(tmp_path / "c.run", "q Q0 d 1 high t"))
    half = '{"query": "q", "doc_id": "d", "grade": 1, "group": "x"}\n{"query": "q", "doc_id": "e", "grade": 1}'
    with pytest.raises(TableError, match="some rows have a group and some have none"):
        read_grades(write(tmp_path / "half.jsonl", half))
    with pytest.raises(TableError, match="no such file"):
        read_run(tmp_path / "absent.run")


def test_half_a_surrogate_pair_is_named_by_line(tmp_path: Path) -> None:
    good = '{"query": "\\ud83d\\ude00", "doc_id": "d", "grade": 1, "score": 1, "group": "g"}\n'
    for column in ("query", "doc_id", "group"):
        broken = json.dumps({**json.loads(good), column: "red \ud83d ball"})
        path = write(tmp_path / f"{column}.jsonl", good + broken)
        with pytest.raises(TableError, match=rf":2: {column}: half a surrogate pair at character 5; write the whole"):
            read_grades(path) if column == "group" else read_run(path)


def test_an_over_long_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="longer than"):
        read_run(write(tmp_path / "long.run", "q" * (2 << 20)))
