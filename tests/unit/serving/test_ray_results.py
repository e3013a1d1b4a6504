"""What an actor tells the driver comes back as it was."""

from __future__ import annotations

import pytest

from mmsearch.errors import CorruptIndexError, DataError, IntegrityError, MmsearchError, TableError
from serving.executors.ray_results import from_json, to_json
from serving.work_item import Done, Quarantined, Reason


@pytest.mark.parametrize("quarantined", [(), (Quarantined("视频\ud83c", Reason.MEMORY, "more\nthan"),)])
def test_finished_items_come_back(quarantined):
    done = Done("k", 3, quarantined)
    assert from_json(to_json(done)) == done
    assert from_json(to_json(None)) is None


@pytest.mark.parametrize("kind", [MmsearchError, DataError, IntegrityError, CorruptIndexError])
def test_errors_come_back_with_their_kind_and_message(kind):
    error = from_json(to_json(kind("the disk is full")))
    assert type(error) is kind
    assert str(error) == "the disk is full"


def test_an_error_with_a_shape_of_its_own_comes_as_its_parent():
    error = from_json(to_json(TableError("a.csv", 3, "title", "is empty")))
    assert type(error) is DataError
    assert str(error) == "a.csv:3: title: is empty"
