"""Slices of ids, read in blocks, against ids read one by one; over one layer and over two."""

import json

import numpy as np
import pytest

from mmsearch.index import ForwardIndex, GenerationWriter, ids
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACE = Space("content", 2, "f")


def add(writer, doc_ids):
    writer.add(
        doc_ids, {"content": Embedded(np.tile(np.float32([1, 0]), (len(doc_ids), 1)), np.ones(len(doc_ids), bool))}
    )


@pytest.mark.parametrize("layers", [1, 2])
def test_every_slice_is_what_single_ids_are(tmp_path, monkeypatch, layers):
    monkeypatch.setattr(ids, "_BLOCK", 3)
    tower = tmp_path / "tower"
    tower.mkdir()
    space = {"name": "content", "dim": 2, "fingerprint": "f", "output": "o"}
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 4, "spaces": [space]}))
    with GenerationWriter(tmp_path / "index", [SPACE]) as writer:
        add(writer, [f"视频 {number}" for number in range(8)])
        base = writer.publish(query_tower=tower, source={})
    if layers == 2:
        with GenerationWriter(tmp_path / "index", [SPACE], base=base) as writer:
            add(writer, ["视频 3", "new"])
            writer.delete(["视频 5"])
            writer.publish(query_tower=None, source={})
    found = ForwardIndex.open(tmp_path / "index").doc_ids
    single = [found[row] for row in range(len(found))]
    assert len(single) == (8 if layers == 1 else 11)
    for first in (None, -20, -3, 0, 2, 7, 8, 9, 30):
        for stop in (None, -20, -3, 0, 2, 7, 8, 9, 30):
            for step in (None, 1, 2, -1):
                assert found[first:stop:step] == single[first:stop:step]
