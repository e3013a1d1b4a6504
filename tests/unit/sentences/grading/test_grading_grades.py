"""Grades on disk."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.errors import TableError
from mmsearch.sentences.grading import GradeFile
from mmsearch.sentences.grading import grades as grades_module


@pytest.fixture
def path(tmp_path):
    return tmp_path / "grades.jsonl"


def row(sheet, at=0, side="first", grade=2):
    return {"sheet": sheet.id, "doc_id": sheet.items[at].doc_id, "side": side, "grade": grade}


def test_the_last_grade_counts_and_null_takes_it_back(sheet, path):
    grades = GradeFile(path, sheet)
    assert grades.grades == {}
    assert not path.exists()
    for value in (row(sheet), row(sheet, grade=0), row(sheet, side="second"), row(sheet, 1), row(sheet, 1, grade=None)):
        grades.save(value)
    doc_id = sheet.items[0].doc_id
    assert grades.grades == {(doc_id, "first"): 0, (doc_id, "second"): 2} == GradeFile(path, sheet).grades
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 5
    assert lines[0].keys() == {"sheet", "doc_id", "side", "grade", "at"}


@pytest.mark.parametrize(
    "change",
    [
        *({"sheet": "other"}, {"sheet": None}, {"doc_id": "nobody"}, {"doc_id": []}, {"doc_id": {}}),
        *({"side": "third"}, {"side": None}),
        *({"grade": grade} for grade in (3, -1, True, 1.0, "2", [1])),
    ],
)
def test_what_is_no_grade_is_refused_and_not_kept(sheet, path, change):
    grades = GradeFile(path, sheet)
    with pytest.raises(ValueError, match=r"grade|answer"):
        grades.save(row(sheet) | change)
    assert not path.exists()
    path.write_text(json.dumps(row(sheet)) + "\n" + json.dumps(row(sheet) | change) + "\n")
    with pytest.raises(TableError, match=r"grades\.jsonl:2: "):
        GradeFile(path, sheet)


def test_a_grade_without_a_grade_is_refused(sheet, path):
    value = row(sheet)
    del value["grade"]
    with pytest.raises(ValueError, match="null"):
        GradeFile(path, sheet).save(value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_file_torn_anywhere_keeps_its_whole_lines(sheet, tmp_path, cut):
    path = tmp_path / "torn.jsonl"
    whole = "".join(json.dumps(row(sheet, at)) + "\n" for at in range(4)).encode()
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n") + (whole[:cut][-1:] == b"}")
    grades = GradeFile(path, sheet)
    assert len(grades.grades) == kept
    grades.save(row(sheet, 4))
    assert len(GradeFile(path, sheet).grades) == kept + 1


def test_a_full_disk_keeps_nothing_of_a_grade(sheet, path, monkeypatch):
    grades = GradeFile(path, sheet)
    grades.save(row(sheet))
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(grades_module.os, "write", lambda descriptor, data: write(descriptor, data[:9]))
    with pytest.raises(OSError, match="no room"):
        grades.save(row(sheet, 1))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(grades.grades) == [(sheet.items[0].doc_id, "first")]


def test_lines_that_are_no_json_are_named(sheet, path):
    path.write_text("[" * 5000 + "\n" + json.dumps(row(sheet)) + "\n")
    with pytest.raises(TableError, match=r"grades\.jsonl:1: this is no line of JSON"):
        GradeFile(path, sheet)
