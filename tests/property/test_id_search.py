"""Searching sorted hashes, and comparing the bytes of ids, against their plain forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.index import sorted_hashes
from mmsearch.index.id_text import _MAX_WIDTH, AskedIds
from mmsearch.index.sorted_hashes import SortedHashes

LARGEST = (1 << 64) - 1
hashes = st.one_of(st.integers(0, LARGEST), st.integers(0, 40), st.integers(LARGEST - 40, LARGEST))


@settings(max_examples=80, deadline=None)
@given(st.lists(hashes, min_size=16, max_size=80), st.lists(hashes, max_size=30))
def test_places_are_those_of_searchsorted(table, wanted):
    held = np.sort(np.array(table, np.uint64))
    asked = np.array([*wanted, *table[:5]], np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_hashes, "_MIN_SIZE", 16)
        found = SortedHashes(held).places(asked)
    np.testing.assert_array_equal(found, np.searchsorted(held, asked))


@pytest.mark.parametrize("mask", [LARGEST, 0xFF, 0xFF << 56, 0], ids=hex)
def test_so_they_are_in_large_tables_and_where_prefixes_crowd(mask):
    rng = np.random.default_rng(0)
    held = np.sort(rng.integers(0, LARGEST, 70_000, np.uint64) & np.uint64(mask))
    wanted = np.concatenate([held[::70], rng.integers(0, LARGEST, 1000, np.uint64), np.uint64([0, LARGEST])])
    search = SortedHashes(held)
    search.warm()
    np.testing.assert_array_equal(search.places(wanted), np.searchsorted(held, wanted))


def test_a_table_out_of_order_ends_somewhere_within():
    held = np.random.default_rng(1).integers(0, LARGEST, 5000, np.uint64)
    places = SortedHashes(held).places(np.arange(0, LARGEST, LARGEST // 999, np.uint64))
    assert places.min() >= 0
    assert places.max() <= len(held)


ids = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.integers(_MAX_WIDTH - 1, _MAX_WIDTH + 2).map(lambda size: b"x" * size),
    st.sampled_from([b"\0", b"a\0", b"a", b"ab"]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(ids, min_size=1, max_size=12), st.data())
def test_bytes_are_compared_as_one_by_one(stored, data):
    text = np.frombuffer(b"".join(stored), np.uint8)
    ends = np.cumsum([len(doc_id) for doc_id in stored])
    begins = ends - [len(doc_id) for doc_id in stored]
    asked = data.draw(st.lists(st.one_of(st.sampled_from(stored), ids), max_size=12))
    pieces = data.draw(st.lists(st.integers(0, len(stored) - 1), min_size=len(asked), max_size=len(asked)))
    one = AskedIds.of(asked, np.zeros(len(asked), np.uint64))
    same = one.same_as(text, begins[pieces], ends[pieces])
    assert same.tolist() == [doc_id == stored[piece] for doc_id, piece in zip(asked, pieces, strict=True)]
    half = np.arange(0, len(asked), 2)
    np.testing.assert_array_equal(one.those(half).same_as(text, begins[pieces][half], ends[pieces][half]), same[half])


@pytest.mark.parametrize(("begin", "end"), [(-2, -1), (-1, 0), (9, 10), (1 << 40, (1 << 40) + 1), (2, 1)])
def test_pieces_outside_of_the_text_are_no_ids(begin, end):
    text = np.frombuffer(b"aaaaaaaaa", np.uint8)
    asked = AskedIds.of([b"a", b"a"], np.zeros(2, np.uint64))
    assert asked.same_as(text, np.array([begin, 0]), np.array([end, 1])).tolist() == [False, True]
