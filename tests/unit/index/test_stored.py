"""Vectors as bytes with scales, and rows that are copied as they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index import ForwardIndex, GenerationWriter, to_stored
from mmsearch.index.stored import dequantize, quantize, to_float32
from mmsearch.protocols import Embedded

IDS = ["a", "b", "c", "d", "e"]


def quantize_slowly(vectors, num_codes):
    """One component at a time."""
    quantized, scales = np.zeros(vectors.shape, np.int8), np.zeros((len(vectors), num_codes), np.float32)
    dim = vectors.shape[1] // num_codes
    for row, vector in enumerate(vectors):
        for code in range(num_codes):
            components = vector[code * dim : (code + 1) * dim]
            scale = np.float32(max(abs(x) for x in components)) / np.float32(127)
            scales[row, code] = scale
            for at, x in enumerate(components):
                quantized[row, code * dim + at] = min(127, max(-127, round(float(x / scale)))) if scale > 0 else 0
    return quantized, scales


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (3, 6), elements=st.floats(-1, 1, width=32, allow_subnormal=False)),
    st.sampled_from([1, 2, 3]),
)
def test_bytes_are_those_of_the_definition_and_half_a_scale_off_at_most(vectors, num_codes):
    quantized, scales = quantize(vectors, num_codes)
    slow, slow_scales = quantize_slowly(vectors, num_codes)
    np.testing.assert_array_equal(quantized, slow)
    np.testing.assert_array_equal(scales, slow_scales)
    off = np.abs(dequantize(quantized, scales) - vectors).reshape(3, num_codes, -1).max(axis=2)
    assert (off <= scales * 0.5001).all()


def test_half_floats_are_read_as_numpy_reads_them():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    expected = halves.astype(np.float32)
    finite = np.isfinite(expected)
    floats = to_float32(halves)
    np.testing.assert_array_equal(floats[finite].view(np.uint32), expected[finite].view(np.uint32))
    assert (np.abs(floats[~finite]) >= 65536).all(), "damage shows by its size"


def test_codes_of_zeros_stay_zeros():
    quantized, scales = quantize(np.zeros((2, 4), np.float32), 2)
    assert not dequantize(quantized, scales).any()
    assert not scales.any()
    with pytest.raises(DataError, match="rows of 5 components do not hold 2 codes"):
        quantize(np.zeros((2, 5), np.float32), 2)


def test_an_index_of_bytes_gives_nearly_the_vectors(tmp_path, spaces, tower, embed):
    batches = embed(40, 1), embed(3, 2)
    with GenerationWriter(tmp_path, spaces, dtype="int8") as writer:
        for start, batch in zip((0, 40), batches, strict=True):
            writer.add([str(start + i) for i in range(len(batch["cover"].present))], batch)
        writer.publish(query_tower=tower, source={})
    index = ForwardIndex.open(tmp_path)
    index.verify()
    assert index.dtypes == {"cover": "int8", "content": "int8"}
    for space in spaces:
        wanted = np.concatenate([batch[space.name].vectors for batch in batches])
        vectors, present = index.vectors(space.name, np.arange(43))
        np.testing.assert_array_equal(present, np.concatenate([batch[space.name].present for batch in batches]))
        np.testing.assert_allclose(vectors[present], wanted[present], atol=1 / 254)
        stored = index.raw(space.name, np.arange(43))
        once = to_stored(Embedded(wanted, present), 1, "int8")
        np.testing.assert_array_equal(stored.vectors, once.vectors)
        np.testing.assert_array_equal(stored.scales, once.scales)
        np.testing.assert_array_equal(stored.to_float32(), vectors)


def vector_files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.npy")) if not p.name.startswith("ids.")}


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_rows_are_copied_bit_by_bit(tmp_path, spaces, tower, embed, publish, dtype):
    first = publish([str(i) for i in range(50)], dtype=dtype)
    index = ForwardIndex.open(tmp_path / "index")
    with GenerationWriter(tmp_path / "index", spaces, dtype=dtype) as writer:
        for rows in (np.arange(7), np.arange(7, 50)):
            writer.add(
                [index.doc_ids[row] for row in rows], {space.name: index.raw(space.name, rows) for space in spaces}
            )
        second = writer.publish(query_tower=tower, source={})
    generations = tmp_path / "index" / "generations"
    assert vector_files(generations / first) == vector_files(generations / second)


def test_rows_that_do_not_fit_are_refused(tmp_path, spaces, tower, embed, publish):
    publish(IDS, dtype="int8")
    index = ForwardIndex.open(tmp_path / "index")
    stored = {space.name: index.raw(space.name, np.arange(5)) for space in spaces}
    assert stored["cover"].scales is not None
    too_long = replace(stored["cover"], scales=stored["cover"].scales * np.float32(1.2))
    with GenerationWriter(tmp_path / "other", spaces, dtype="float32") as writer:
        with pytest.raises(DataError, match=r"rows to be copied are int8 .* stores float32"):
            writer.add(IDS, stored)
        writer.add(IDS, {name: rows.to_embedded() for name, rows in stored.items()})
    with GenerationWriter(tmp_path / "other", spaces, dtype="int8") as writer:
        with pytest.raises(DataError, match=r"'cover': the vector of document '[a-e]' has length 1\.[12]"):
            writer.add(IDS, stored | {"cover": too_long})
        with pytest.raises(DataError, match="with scales None"):
            writer.add(IDS, stored | {"cover": replace(stored["cover"], scales=None)})
        assert writer.num_docs == 0
    with pytest.raises(IndexError, match="rows must be 0"):
        index.raw("cover", np.array([-1]))


def test_content_hashes_come_back(tmp_path, spaces, tower, embed):
    hashes = np.random.default_rng(0).integers(0, 1 << 63, (5, 8)).astype(np.uint64)
    with GenerationWriter(tmp_path, spaces) as writer:
        writer.add(IDS[:2], embed(2), hashes[:2])
        for bad, what in (
            (None, "all or none"),
            (hashes[:2], r"uint64 \[3, 8\]"),
            (hashes[2:].astype(np.int64), "int64"),
        ):
            with pytest.raises(DataError, match=what):
                writer.add(IDS[2:], embed(3), bad)
        writer.add([], embed(0))
        writer.add(IDS[2:], embed(3), hashes[2:])
        writer.publish(query_tower=tower, source={})
    index = ForwardIndex.open(tmp_path)
    assert index.has_contents
    np.testing.assert_array_equal(index.contents(np.array([4, -1, 0])), [hashes[4], [0] * 8, hashes[0]])
    path = tmp_path / "generations" / index.generation / "contents.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptIndexError, match=r"damaged: contents\.npy"):
        ForwardIndex.open(tmp_path).contents(np.array([0]))
