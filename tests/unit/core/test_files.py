"""Atomic files, hashes, and one writer at a time."""

import os
import subprocess
import sys

import pytest

from mmsearch.errors import DataError
from mmsearch.files import hash_bytes, hash_file, read_json, replacing, sole_writer, write_bytes, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail():
        with replacing(path) as beside:
            beside.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_json_round_trip_and_errors_name_the_file(tmp_path):
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"b": "红", "a": [1]})
    assert read_json(path) == {"b": "红", "a": [1]}
    assert path.read_text(encoding="utf-8").index('"a"') < path.read_text(encoding="utf-8").index('"b"')
    path.write_text("{broken")
    with pytest.raises(DataError, match=r"value\.json: cannot be read as JSON"):
        read_json(path)
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "absent.json")


def test_hashes_know_where_parts_end(tmp_path):
    assert hash_bytes(b"ab", b"c") != hash_bytes(b"a", b"bc")
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    (tmp_path / "twin").write_bytes(b"x" * 3_000_000)
    assert hash_file(tmp_path / "file") == hash_file(tmp_path / "twin")


def test_one_writer_at_a_time_and_the_dead_hold_nothing(tmp_path):
    folder = tmp_path / "run"
    script = (
        "import os, sys; from pathlib import Path; from mmsearch.files import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])):\n    print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(DataError, match="another process is writing here"), sole_writer(folder):
            pass
        other.kill()
        other.wait()
    with sole_writer(folder):
        pass


def test_what_a_library_wrote_for_its_owner_alone_gets_the_permissions_of_any_file(tmp_path):
    (tmp_path / "any").touch()
    usual = (tmp_path / "any").stat().st_mode
    with replacing(tmp_path / "model") as beside:
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "model").stat().st_mode == usual
    with replacing(tmp_path / "tool") as beside:
        beside.touch()
        beside.chmod(0o700)
    assert (tmp_path / "tool").stat().st_mode & 0o777 == 0o700, "what was chosen stays"
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "private") as beside:
            beside.touch()
    finally:
        os.umask(before)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any", "model", "private", "tool"]
