"""Death at each step by which a faiss index comes to the disk: the old one or the new one is found."""

from __future__ import annotations

import io
import os
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from mmsearch.index import ForwardIndex
from mmsearch.index.recall.approximate import ApproximateSearch
from mmsearch.index.recall.build import build_ann
from mmsearch.index.recall.search import ExactSearch
from mmsearch.index.recall.settings import AnnSettings

#: What changes a folder or makes it last; `open` when it is for writing.
CALLS = ("replace", "rename", "unlink", "fsync", "mkdir")
DIED = 9


@pytest.fixture(autouse=True)
def one_thread():
    """A fork and a pool of threads do not go together."""
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def settings(links: int) -> AnnSettings:
    structure = {"type": "hnsw", "links": links}
    return AnnSettings.model_validate({"structure": structure, "spaces": ["cover"], "num_queries": 3})


def die_at(turn: int, act: object) -> int:
    """Run in a process of its own that dies, without a word, before its `turn`th call; give its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; this child uses none
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    counted = count(1)

    def before(call: object, counts: object) -> object:
        def called(*arguments: object, **named: object) -> object:
            if counts(*arguments, **named) and next(counted) == turn:
                os._exit(DIED)
            return call(*arguments, **named)

        return called

    code = 1
    try:
        for name in CALLS:
            setattr(os, name, before(getattr(os, name), lambda *_, **__: True))
        io.open = before(io.open, lambda _, mode="r", *__, **___: "w" in mode)
        act()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("again", [False, True])
def test_death_at_each_step_leaves_the_old_or_the_new_one(publish, tmp_path: Path, again):
    publish([f"doc-{i}" for i in range(60)])
    index_dir = tmp_path / "index"
    query = np.float32([0.6, 0.8, 0, 0])
    best, _ = ExactSearch(ForwardIndex.open(index_dir)).search("cover", query, 5)
    codes = []
    for turn in count(1):
        if again:
            build_ann(index_dir, settings(8))
        codes.append(die_at(turn, lambda: build_ann(index_dir, settings(9))))
        assert codes[-1] in (0, DIED)
        there = (index_dir / "ann").exists() and any((index_dir / "ann").rglob("cover.hnsw.json"))
        if again or there:
            index = ForwardIndex.open(index_dir)
            assert ApproximateSearch(index, index_dir).search("cover", query, 5)[0] == best
        if codes[-1] == 0:
            break
    assert len(codes) > 6
    build_ann(index_dir, settings(10))
    (folder,) = (index_dir / "ann").iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".faiss", ".json"]
