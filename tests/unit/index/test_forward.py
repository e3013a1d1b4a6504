"""Opening, looking up, and what damage does."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError, FormatVersionError
from mmsearch.index import ForwardIndex
from mmsearch.index.layout import generation_name, write_current
from mmsearch.index.manifest import manifest_hash


@pytest.fixture
def index_dir(publish, tmp_path) -> Path:
    publish([f"doc-{i}" for i in range(40)])
    return tmp_path / "index"


@pytest.fixture
def generation(index_dir) -> Path:
    return index_dir / "generations" / ForwardIndex.open(index_dir).generation


def test_missing_documents_are_told_and_never_read_as_zeros(index_dir):
    index = ForwardIndex.open(index_dir)
    rows = index.rows(["doc-3", "nobody", "doc-0", "", "\ud800", "doc-3"])
    np.testing.assert_array_equal(rows, [3, -1, 0, -1, -1, 3])
    _, present = index.vectors("content", rows)
    assert not present[[1, 3, 4]].any()
    assert index.rows([]).shape == (0,)
    assert index.vectors("content", index.rows([]))[0].shape == (0, 8)


@pytest.mark.parametrize("row", [-2, 40])
def test_rows_out_of_range_are_refused(index_dir, row):
    with pytest.raises(IndexError):
        ForwardIndex.open(index_dir).vectors("content", np.array([0, row]))


def test_an_unknown_space_is_told_with_the_known_ones(index_dir):
    with pytest.raises(DataError, match=r"no space 'frames'; there are: cover, content"):
        ForwardIndex.open(index_dir).vectors("frames", np.array([0]))


def test_nothing_published_is_not_corruption(tmp_path):
    with pytest.raises(DataError, match="publish one first"):
        ForwardIndex.open(tmp_path)


@pytest.mark.parametrize("name", ["../generations", "g000009-0123456789abcdef", ""])
def test_an_unknown_generation_is_refused(index_dir, name):
    with pytest.raises(DataError, match="there is no generation"):
        ForwardIndex.open(index_dir, name)


@pytest.mark.parametrize("content", [b"", b"\n", b"g000001\n", b"../../etc\n", b"\xff" * 80])
def test_a_damaged_pointer_is_told(index_dir, content):
    (index_dir / "CURRENT").write_bytes(content)
    with pytest.raises(CorruptIndexError, match="CURRENT"):
        ForwardIndex.open(index_dir)


def test_a_missing_generation_is_told(index_dir, generation):
    shutil.rmtree(generation)
    with pytest.raises(CorruptIndexError, match=generation.name):
        ForwardIndex.open(index_dir)


def files_of(generation: Path) -> list[Path]:
    return sorted(path for path in generation.rglob("*") if path.is_file())


@pytest.mark.parametrize("harm", ["truncate", "empty", "remove", "lengthen"])
def test_every_file_that_is_cut_or_missing_is_told_at_open(index_dir, generation, harm):
    for path in files_of(generation):
        whole = path.read_bytes()
        if harm == "remove":
            path.unlink()
        else:
            path.write_bytes({"truncate": whole[:-1], "empty": b"", "lengthen": whole + b"\0"}[harm])
        start = time.process_time()
        with pytest.raises(CorruptIndexError, match=path.name):
            ForwardIndex.open(index_dir)
        assert time.process_time() - start < 1
        path.write_bytes(whole)
    ForwardIndex.open(index_dir).verify()


def test_swapped_files_are_told_at_open(index_dir, generation):
    one, other = generation / "ids.hashes.npy", generation / "vectors.cover.npy"
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second), "else the sizes would already tell"
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(CorruptIndexError, match=r"ids\.hashes\.npy: holds <f2"):
        ForwardIndex.open(index_dir)


def test_a_foreign_byte_order_is_told(index_dir, generation):
    path = generation / "vectors.cover.npy"
    path.write_bytes(path.read_bytes().replace(b"<f2", b">f2", 1))
    with pytest.raises(CorruptIndexError, match="holds >f2"):
        ForwardIndex.open(index_dir)


@pytest.mark.parametrize(
    ("old", "new"), [(b"'shape'", b"'shap'''"), (b"{", b"\0"), (b"40,", b"4j,"), (b"NUMPY", b"NUMPI")]
)
def test_a_damaged_header_is_told(index_dir, generation, old, new):
    path = generation / "vectors.cover.npy"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1)[: len(data)].ljust(len(data)))
    with pytest.raises(CorruptIndexError, match=r"vectors\.cover\.npy"):
        ForwardIndex.open(index_dir)


def republished(index_dir: Path, generation: Path, change: dict[bytes, bytes]) -> None:
    """Change the manifest and let the names agree with it: what only a newer or a broken writer would do."""
    data = (generation / "manifest.json").read_bytes()
    for old, new in change.items():
        assert old in data
        data = data.replace(old, new, 1)
    (generation / "manifest.json").write_bytes(data)
    name = generation_name(7, manifest_hash(data))
    generation.rename(generation.with_name(name))
    write_current(index_dir, name)


def test_a_later_format_is_refused_as_such(index_dir, generation):
    republished(index_dir, generation, {b'"format_version": 3': b'"format_version": 4', b'"spaces"': b'"heads"'})
    with pytest.raises(FormatVersionError, match=r"format 4, .* reads up to 3"):
        ForwardIndex.open(index_dir)


@pytest.mark.parametrize(
    "change",
    [
        {b"{": b"["},
        {b'"spaces"': b'"heads"'},
        {b'"num_docs": 40': b'"num_docs": 41'},
        {b'"num_docs": 40': b'"num_docs": "many"'},
        {b'"ids.text.npy"': b'"../../CURRENT"'},
        {b'"name": "cover"': b'"name": "../cover"'},
    ],
)
def test_a_manifest_that_makes_no_sense_is_told(index_dir, generation, change):
    republished(index_dir, generation, change)
    with pytest.raises(CorruptIndexError):
        ForwardIndex.open(index_dir)


def test_one_open_index_serves_many_threads(index_dir):
    index = ForwardIndex.open(index_dir)
    ids = [f"doc-{i}" for i in range(-5, 40)]
    rows = index.rows(ids)
    expected = index.vectors("content", rows)[0]

    def look_up(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(ids))
        found = index.rows([ids[i] for i in order])
        return bool((found == rows[order]).all() and (index.vectors("content", found)[0] == expected[order]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look_up, range(200)))


def test_opening_does_not_leak_descriptors(index_dir):
    ForwardIndex.open(index_dir)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        ForwardIndex.open(index_dir)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
