"""What a disk refuses comes out as an error of ours that says why; nothing stays locked."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.files import make_folder
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.generations import collect, serve
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACE = Space("content", 4, "f")


def test_a_current_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "CURRENT").mkdir()
    with pytest.raises(DataError, match="CURRENT: cannot be read: Is a directory"):
        ForwardIndex.open(tmp_path)


@pytest.mark.parametrize("change", [collect, lambda index: serve(index, "g000001-0000000000000000")])
def test_changes_of_generations_tell_what_was_refused(tmp_path, change):
    (tmp_path / "generations").mkdir()
    (tmp_path / ".lock").mkdir()
    with pytest.raises(DataError, match=r"writing failed: Is a directory .*\.lock"):
        change(tmp_path)


def test_a_full_disk_does_not_keep_the_lock(tmp_path):
    """Buffered bytes are refused once more when the file is closed: that must not hide the error or hold the index."""
    writer = GenerationWriter(tmp_path, [SPACE])
    _fill_up(tmp_path / "generations")
    writer.add(list("abcd"), {"content": Embedded(np.eye(4, dtype=np.float32), np.ones(4, bool))})
    with pytest.raises(DataError, match="No space left on device"):
        writer.publish(query_tower=_tower(tmp_path), source={})
    GenerationWriter(tmp_path, [SPACE]).close()


def _fill_up(folder):
    """Let every open file below a folder be on a full disk."""
    with open("/dev/full", "wb") as full:
        for name in os.listdir("/proc/self/fd"):
            if _is_below(name, folder):
                os.dup2(full.fileno(), int(name))


def _is_below(descriptor, folder):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder))
    except OSError:
        return False


def _tower(tmp_path):
    tower = tmp_path / "tower"
    tower.mkdir()
    row = '{"name": "content", "dim": 4, "fingerprint": "f", "output": "o"}'
    (tower / "query_tower.json").write_text(f'{{"format_version": 1, "max_length": 4, "spaces": [{row}]}}')
    return tower


def test_a_file_that_cannot_be_opened_is_told_apart_from_a_damaged_one(tmp_path, monkeypatch):
    with GenerationWriter(tmp_path / "index", [SPACE]) as writer:
        writer.add(list("abcd"), {"content": Embedded(np.eye(4, dtype=np.float32), np.ones(4, bool))})
        writer.publish(query_tower=_tower(tmp_path), source={})
    index = ForwardIndex.open(tmp_path / "index")

    def refuse(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("mmsearch.index.layer.hash_file", refuse)
    with pytest.raises(CorruptIndexError, match=r"ids\.rows\.npy \(cannot be read: Too many open files\)"):
        index.verify()


def test_a_new_folder_is_synced_by_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("mmsearch.files.fsync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    make_folder(tmp_path / "a" / "b")
    assert synced == []
