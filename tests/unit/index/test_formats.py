"""Indexes that were written when a format was new: `formats/1` … hold the very bytes.

Document i of four points along axis i in both spaces, the second one has no cover; from format 2 on each has a second
code in `content`, which points the other way. Format 3 is stored as int8, and an overlay on it replaces `视频`, adds
`e` and deletes `a`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError
from mmsearch.index import ForwardIndex, collect, list_generations, serve

WRITTEN = Path(__file__).with_name("formats")
IDS = ["a", "b", "视频", "d"]
AXES = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize("verify", ["none", "lazy", "full"])
@pytest.mark.parametrize(("version", "num_codes"), [(1, 1), (2, 2)])
def test_formats_before_overlays_are_read(version, num_codes, verify):
    index = ForwardIndex.open(WRITTEN / str(version), verify=verify)
    index.verify()
    index.warm()
    assert index.source == {"format": version}
    assert [(s.name, s.fingerprint, s.num_codes) for s in index.spaces] == [
        ("cover", "aa11", 1),
        ("content", "bb22", num_codes),
    ]
    assert (list(index.doc_ids), index.num_docs, index.num_rows, index.base) == (IDS, 4, 4, None)
    rows = index.rows(["d", "nobody", "视频", "b"])
    assert rows.tolist() == [3, -1, 2, 1]
    vectors, present = index.vectors("content", rows)
    expected = np.concatenate([AXES, -AXES][:num_codes], axis=1)
    np.testing.assert_array_equal(vectors[[0, 2, 3]], expected[[3, 2, 1]])
    assert present.tolist() == [True, False, True, True]
    vectors, present = index.vectors("cover", rows)
    np.testing.assert_array_equal(vectors, [AXES[3], [0] * 4, AXES[2], [0] * 4])
    assert present.tolist() == [True, False, True, False]
    assert not index.has_contents
    assert not index.contents(rows).any()
    assert index.raw("content", np.array([1])).vectors.dtype == np.float16
    (found,) = index.blocks("cover")
    assert found[0].tolist() == [0, 2, 3]
    (version_,) = index.versions
    assert (version_.rows, version_.spaces) == (range(4), index.spaces)


def test_generations_of_format_2_are_listed_served_and_collected(tmp_path):
    index_dir = tmp_path / "index"
    shutil.copytree(WRITTEN / "2", index_dir)
    (told,) = list_generations(index_dir)
    assert (told.number, told.num_docs, told.base, told.is_current) == (1, 4, None, True)
    serve(index_dir, told.name)
    assert collect(index_dir, 1) == []
    path = index_dir / "generations" / told.name / "vectors.cover.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(CorruptIndexError, match=r"vectors\.cover\.npy"):
        serve(index_dir, told.name)


@pytest.mark.parametrize("verify", ["none", "lazy", "full"])
def test_format_3_is_read(verify, caplog):
    index = ForwardIndex.open(WRITTEN / "3", verify=verify)
    index.verify()
    index.warm()
    assert index.source == {"format": 3, "overlay": True}
    assert index.base == "g000001-1f3412941eb039fd"
    assert list(index.doc_ids) == [*IDS, "视频", "e", "a"]
    rows = index.rows(["a", "b", "视频", "d", "e"])
    assert rows.tolist() == [-1, 1, 4, 3, 5]
    vectors, present = index.vectors("content", rows)
    both = np.concatenate([AXES, -AXES], axis=1)
    np.testing.assert_array_equal(vectors, [[0] * 8, both[1], both[0], both[3], both[1]])
    assert present.tolist() == [False, True, True, True, True]
    assert index.vectors("cover", rows)[1].tolist() == [False, False, True, True, True]
    stored = index.raw("content", rows[1:])
    assert stored.scales is not None
    assert (stored.vectors.dtype, set(stored.scales.ravel().tolist())) == (np.int8, {float(np.float32(1) / 127)})
    assert index.contents(rows)[:, 7].tolist() == [0, 15, 7, 31, 7]
    assert index.sound("content", rows[1:]).all()
    assert caplog.text == ""
    assert [(told.num_docs, told.is_current) for told in list_generations(WRITTEN / "3")] == [(4, False), (4, True)]
