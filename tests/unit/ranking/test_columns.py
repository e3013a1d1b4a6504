"""The user's own columns: four formats, missing cells, and what is refused."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsearch.errors import TableError
from mmsearch.ranking.columns import read_columns

WANTED = [("red ball", "a"), ("red ball", "b"), ("猫", "a")]
ROWS = [
    {"query": "red ball", "doc_id": "a", "bm25": 2.5, "ctr": 0.25},
    {"query": "red ball", "doc_id": "b", "bm25": None, "ctr": 1},
    {"query": "other", "doc_id": "a", "bm25": 9.0, "ctr": 0.0},
]
FOUND = np.array([[2.5, 0.25], [math.nan, 1], [math.nan, math.nan]])


def write(path, rows, rows_file):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        rows_file(path, rows)
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        lines = [rows[0].keys(), *(["" if cell is None else cell for cell in row.values()] for row in rows)]
        path.write_text("".join(comma.join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("names", [None, ["bm25", "ctr"]])
def test_every_format_gives_the_same_numbers(tmp_path, rows_file, suffix, names):
    found = read_columns(write(tmp_path / f"a.{suffix}", ROWS, rows_file), WANTED, names)
    assert found.names == ("bm25", "ctr")
    assert len(found.row_of) == 2  # rows of other pairs are not kept
    np.testing.assert_array_equal(found.look_up(WANTED), FOUND)
    np.testing.assert_array_equal(found.look_up(WANTED[::-1]), FOUND[::-1])


def test_chosen_columns_come_in_the_order_asked_and_others_may_hold_anything(tmp_path, rows_file):
    rows = [row | {"title": "not a number"} for row in ROWS]
    found = read_columns(rows_file(tmp_path / "a.jsonl", rows), WANTED, ["ctr", "bm25"])
    assert found.names == ("ctr", "bm25")
    np.testing.assert_array_equal(found.look_up(WANTED), FOUND[:, ::-1])


def test_a_column_may_begin_in_a_later_row_of_json(tmp_path, rows_file):
    rows = [{"query": "red ball", "doc_id": "a"}, {"query": "red ball", "doc_id": "b", "seen": True}]
    found = read_columns(rows_file(tmp_path / "a.jsonl", rows), WANTED)
    np.testing.assert_array_equal(found.look_up(WANTED), [[math.nan], [1], [math.nan]])


def test_of_repeated_pairs_the_first_counts(tmp_path, rows_file):
    found = read_columns(rows_file(tmp_path / "a.jsonl", [ROWS[0], ROWS[0] | {"bm25": 7.0}, ROWS[1]]), WANTED)
    np.testing.assert_array_equal(found.look_up(WANTED), FOUND)
    assert found.num_repeated == 1


@pytest.mark.parametrize(
    ("changed", "names", "problem"),
    [
        ({"ctr": "high"}, None, r":1: ctr: 'high' is not a number; choose the columns that hold numbers: columns="),
        ({"ctr": math.inf}, None, r":1: ctr: inf is not a finite number"),
        ({"query": ""}, None, r":1: query: is empty; every row needs one"),
        ({"query": 5}, None, r":1: query: 5 is not a text"),
        ({}, ["bm26"], r": bm26: the column is missing; the columns here: bm25, ctr, doc_id, query"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path, rows_file, changed, names, problem):
    path = rows_file(tmp_path / "a.jsonl", [ROWS[0] | changed, *ROWS[1:]])
    with pytest.raises(TableError, match=problem):
        read_columns(path, WANTED, names)


@pytest.mark.parametrize("names", [None, ["bm25", "ctr"]])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_of_none_of_the_pairs_says_whether_it_is_of_their_queries_or_documents(
    tmp_path, rows_file, suffix, names
):
    for number, (change, related) in enumerate(
        (({}, True), ({"query": "red ball", "doc_id": "z"}, True), ({"doc_id": "z"}, False))
    ):
        rows = [ROWS[2] | {"doc_id": "y"}, ROWS[2] | change]
        found = read_columns(write(tmp_path / f"{number}.{suffix}", rows, rows_file), WANTED, names)
        assert (found.names, found.row_of, found.is_related) == (("bm25", "ctr"), {}, related)
        assert np.isnan(found.look_up(WANTED)).all()
        assert found.look_up(WANTED).shape == (3, 2)


def test_a_table_without_rows_is_one_of_none_of_the_pairs(tmp_path):
    for name, text in (("a.csv", "query,doc_id,bm25\n"), ("b.jsonl", "")):
        (tmp_path / name).write_text(text)
        found = read_columns(tmp_path / name, WANTED, ["bm25"])
        assert np.isnan(found.look_up(WANTED)).all()
        assert not found.is_related


def test_a_table_without_columns_is_refused(tmp_path, rows_file):
    with pytest.raises(TableError, match="has no column but"):
        read_columns(rows_file(tmp_path / "b.jsonl", [{"query": "red ball", "doc_id": "a"}]), WANTED)
    for name, text, problem in (
        ("c.csv", "query,doc_id,x,x\nred ball,a,1,2\n", "the column stands there twice"),
        ("d.csv", "query,x\nred ball,1\n", "doc_id: is missing; the columns here: query, x"),
        ("e.parquet", "no", "cannot be read as Parquet"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(TableError, match=problem):
            read_columns(tmp_path / name, WANTED)
    with pytest.raises(TableError, match="no such file"):
        read_columns(tmp_path / "f.tsv", WANTED)
