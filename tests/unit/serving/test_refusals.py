"""What a disk refuses during a refresh: told with its reason, or done without."""

from __future__ import annotations

import errno
import os

import pytest

from mmsearch.errors import DataError
from serving.refresh import export_tower
from serving.work import clear, work_of


def test_a_query_tower_that_cannot_be_exported_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"query_tower: the query tower cannot be exported: Not a directory"):
        export_tower(lambda folder: folder.mkdir(parents=True), tmp_path / "file" / "query_tower", [])


def test_work_that_cannot_be_removed_does_not_fail_a_refresh_that_has_published(tmp_path, monkeypatch, caplog):
    work_of(tmp_path, "recipe").mkdir(parents=True)

    def refuse(folder):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("shutil.rmtree", refuse)
    clear(tmp_path, "recipe")
    assert "cannot be removed: Input/output error" in caplog.text
    monkeypatch.undo()
    clear(tmp_path, "recipe")
    assert not (tmp_path / ".work").exists()
