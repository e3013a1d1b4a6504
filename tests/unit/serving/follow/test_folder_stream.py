"""A folder of JSON Lines files as a stream, against the naive reading of all its lines."""

import json
import os
import random

import pytest

from mmsearch.data import lines
from mmsearch.data.lines import Unreadable
from mmsearch.errors import DataError
from serving.follow import folder_stream
from serving.follow.folder_stream import FolderStream


def ids(entries):
    return [entry.cells["doc_id"] for entry in entries]


def line(number):
    return json.dumps({"doc_id": f"v{number}", "title": "熊猫" * (number % 3)}, ensure_ascii=False) + "\n"


@pytest.fixture
def stream(tmp_path):
    opened = FolderStream(tmp_path)
    opened.seek(None)
    return opened


def test_lines_come_in_the_order_of_files_and_as_they_are_appended(tmp_path, stream):
    (tmp_path / "2.jsonl").write_text(line(2) + "\n \n" + line(3))
    (tmp_path / "1.ndjson").write_text("\ufeff" + line(0) + line(1))
    for name in (".3.jsonl", "4.jsonl.tmp", "5.csv"):
        (tmp_path / name).write_text(line(9))
    found = stream.read(100)
    assert ids(found) == ["v0", "v1", "v2", "v3"]
    assert [entry.where.rpartition("/")[2] for entry in found] == ["1.ndjson:1", "1.ndjson:2", "2.jsonl:1", "2.jsonl:4"]
    assert stream.read(100) == []
    with (tmp_path / "2.jsonl").open("a") as file:
        file.write(line(4))
    assert ids(stream.read(100)) == ["v4"]


def test_a_line_counts_when_it_is_whole(tmp_path, stream):
    whole = line(1)
    file = (tmp_path / "1.jsonl").open("w", buffering=1)
    file.write(whole[:10])
    file.flush()
    assert stream.read(9) == []
    file.write(whole[10:-1])
    file.flush()
    assert stream.read(9) == [], "its line end is not there"
    (tmp_path / "2.jsonl").touch()
    assert ids(stream.read(9)) == ["v1"], "a file is over when there is a later one"
    file.close()


def test_any_chopping_of_writes_and_reads_gives_every_line_once(tmp_path):
    chance = random.Random(3)
    text = "".join(line(number) for number in range(120))
    left, found, position, names = text, [], None, iter(f"{n:03d}.jsonl" for n in range(1000))
    file = (tmp_path / next(names)).open("w")
    while left or len(found) < 120:
        cut = chance.randrange(1, 200)
        file.write(left[:cut])
        file.flush()
        left = left[cut:]
        if not left or (chance.random() < 0.2 and text[: len(text) - len(left)].endswith("\n")):
            file.close()
            file = (tmp_path / next(names)).open("w")
        stream = FolderStream(tmp_path)  # a new one each time, as after a kill
        stream.seek(position)
        for entry in stream.read(chance.randrange(1, 9)):
            found.append(entry.cells["doc_id"])
            position = json.loads(json.dumps(entry.position))
    file.close()
    assert found == [f"v{number}" for number in range(120)]


def test_bad_lines_come_in_their_place(tmp_path, stream, monkeypatch):
    monkeypatch.setattr(lines.BoundedLines.__init__, "__defaults__", (50,))
    (tmp_path / "1.jsonl").write_text(f"nonsense\n[1]\n{line(1)}" + json.dumps({"doc_id": "x" * 90}) + "\n" + line(3))
    found = stream.read(9)
    assert [isinstance(entry.cells, Unreadable) for entry in found] == [True, True, False, True, False]
    assert "longer than 50 bytes" in found[3].cells.problem
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write(json.dumps({"doc_id": "x" * 90}))
    assert stream.read(9) == [], "the long line goes on"


def test_long_lines_come_a_few_at_a_time(tmp_path, stream, monkeypatch):
    monkeypatch.setattr(folder_stream, "_MAX_BYTES", 100)
    for name in ("1.jsonl", "2.jsonl"):
        (tmp_path / name).write_text(
            "".join(json.dumps({"doc_id": f"v{n}", "title": "x" * 60}) + "\n" for n in range(3))
        )
    assert [len(stream.read(9)) for _ in range(5)] == [2, 3, 1, 0, 0]


def test_a_file_that_comes_late_is_told_once(tmp_path, stream, caplog):
    (tmp_path / "3.jsonl").write_text(line(3))
    assert ids(stream.read(9)) == ["v3"]
    (tmp_path / "5.jsonl").write_text(line(5))
    assert ids(stream.read(9)) == ["v5"]
    assert stream.read(9) == []
    assert "is not read" not in caplog.text
    (tmp_path / "4.jsonl").write_text(line(4))
    assert stream.read(9) == stream.read(9) == []
    assert caplog.text.count("4.jsonl: is not read") == 1


def test_files_may_be_removed_after_they_were_read_and_must_not_shrink(tmp_path, stream):
    (tmp_path / "1.jsonl").write_text(line(1))
    (tmp_path / "2.jsonl").write_text(line(2))
    stream.read(9)
    (tmp_path / "1.jsonl").unlink()
    (tmp_path / "2.jsonl").unlink()
    (tmp_path / "3.jsonl").write_text(line(3) + line(4))
    assert ids(stream.read(1)) == ["v3"]
    (tmp_path / "3.jsonl").write_text("")
    with pytest.raises(DataError, match=r"3\.jsonl: has 0 bytes, and \d+ were read before"):
        stream.read(9)


@pytest.fixture
def told(caplog):
    return caplog


def test_what_is_no_regular_file_is_told_once_and_passed_over(tmp_path, stream, told):
    os.mkfifo(tmp_path / "1.jsonl")
    (tmp_path / "2.jsonl").write_text(line(2) + line(3)[:5])
    (tmp_path / "3.jsonl").mkdir()
    (tmp_path / "4.jsonl").symlink_to("4.jsonl")
    assert ids(stream.read(9)) == ["v2"], "a folder does not end the file before it"
    assert ids(stream.backlog()) == ids(stream.read(9)) == []
    for name in ("1", "3", "4"):
        assert told.text.count(f"{name}.jsonl: is not read: it is no regular file") == 1


def test_a_pipe_that_takes_the_place_of_a_listed_file_is_not_waited_for(tmp_path, stream, told, monkeypatch):
    (tmp_path / "1.jsonl").write_text(line(1))
    (tmp_path / "2.jsonl").write_text(line(2))
    names = stream._list()
    monkeypatch.setattr(stream, "_list", lambda: names)
    (tmp_path / "1.jsonl").unlink()
    os.mkfifo(tmp_path / "1.jsonl")
    assert ids(stream.read(9)) == ["v2"]
    (tmp_path / "2.jsonl").unlink()
    (tmp_path / "2.jsonl").mkdir()
    assert stream.read(9) == []
    assert told.text.count("1.jsonl: is not read: it is no regular file") == 1


def test_a_position_whose_file_is_gone_is_told_and_the_next_file_is_read(tmp_path, stream, told):
    (tmp_path / "1.jsonl").write_text(line(1) + line(2))
    (tmp_path / "2.jsonl").write_text(line(3))
    position = stream.read(1)[0].position
    stream.seek(position)
    stream.seek({"file": "0.jsonl", "offset": 0, "line": 0})
    assert not told.records
    (tmp_path / "1.jsonl").unlink()
    stream.seek(position)
    assert [record.levelname for record in told.records] == ["ERROR"]
    assert "1.jsonl: was removed, and is to be read on behind line 1: changes that stood there" in told.text
    assert ids(stream.backlog()) == ids(stream.read(9)) == ["v3"]
    assert len(told.records) == 1
    assert stream.gone(position) == str(tmp_path / "1.jsonl")


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        FolderStream(tmp_path / "nowhere")
