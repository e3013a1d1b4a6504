"""The cache: numbers by key, shared, and trusted with nothing."""

import sqlite3
import subprocess
import sys

import pytest

from mmsearch.errors import DataError, IntegrityError
from mmsearch.sentences.cache import AnswerCache, Kept

WRITER = """
import sys
from pathlib import Path
from mmsearch.sentences.cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]))
for number in range(100):
    cache.put(f"{sys.argv[2]}-{number}", [number])
    assert cache.get(f"{sys.argv[2]}-{number}").numbers == (number,)
cache.close()
"""


def test_what_is_put_is_got_again_also_after_closing(tmp_path):
    cache = AnswerCache(tmp_path / "deep" / "cache.sqlite")
    assert cache.get("a") is None
    cache.put("a", (3, 1))
    cache.put("b", (), "no answer")
    cache.put("a", (0.25, -1.5))
    cache.close()
    again = AnswerCache(tmp_path / "deep" / "cache.sqlite")
    assert again.get("a") == Kept((0.25, -1.5))
    assert again.get("b") == Kept((), "no answer")
    again.close()


def test_several_processes_write_at_the_same_time(tmp_path):
    path = tmp_path / "cache.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    running = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    cache = AnswerCache(path)
    assert all(cache.get(f"{name}-{number}") == Kept((number,)) for name in "ab" for number in range(100))
    cache.close()


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database at all, " * 100)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"cache\.sqlite: is a file of something else; give the cache another name"):
        AnswerCache(path)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="cannot be opened"):
        AnswerCache(tmp_path)


def test_the_database_of_another_program_is_left_as_it_is(tmp_path):
    path = tmp_path / "mail.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE letters (text TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"mail\.sqlite: is a file of something else.*other tables"):
        AnswerCache(path)
    assert path.read_bytes() == before


def test_a_damaged_cache_is_told_apart(tmp_path):
    path = tmp_path / "cache.sqlite"
    cache = AnswerCache(path)
    for number in range(400):
        cache.put(f"{number:0200d}", range(20))
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096 + 100 :] = b"\xff" * (len(data) - 4196)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"cache of answers is damaged.*move it away"):
        AnswerCache(path).get("1")


@pytest.mark.parametrize("numbers", ["{", '"text"', '["a"]', "[null]", "[[1]]", "3", '{"a": 1}'])
def test_rows_of_strangers_are_as_if_absent(tmp_path, numbers):
    path = tmp_path / "cache.sqlite"
    cache = AnswerCache(path)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO answers VALUES ('a', ?, NULL)", (numbers,))
    database.close()
    assert cache.get("a") is None
    cache.close()
