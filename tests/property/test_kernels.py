"""Dots straight from stored codes, against plain numpy in double precision, with numkong and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.index import kernels
from mmsearch.index.kernels import QueryKernel
from mmsearch.index.stored import quantize

DTYPES = ("float16", "float32", "int8")


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)


def stored_as(codes: np.ndarray, dtype: str) -> np.ndarray:
    """Give codes as they are stored; those of int8 without their scales."""
    return quantize(codes, 1)[0] if dtype == "int8" else codes.astype(dtype)


@pytest.fixture(params=[True, False], ids=["numkong", "numpy"])
def _library(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(kernels, "numkong", None)
    elif kernels.numkong is None:
        pytest.skip("numkong is absent")


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dots_are_those_of_double_precision(dtype):
    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 40), st.integers(1, 300), st.floats(-8, 0), st.integers(0, 2**32))
    def check(num, dim, exponent, seed):
        rng = np.random.default_rng(seed)
        query = unit(rng, dim)
        query[: dim // 2] *= np.float32(10**exponent)  # small components beside large ones
        codes = stored_as(unit(rng, num, dim), dtype)
        found = QueryKernel(query, dtype).dots(codes)
        assert (found.dtype, found.shape) == (np.float32, (num,))
        exact = codes.astype(np.float64) @ query.astype(np.float64)
        lengths = np.linalg.norm(codes.astype(np.float64), axis=1) * np.linalg.norm(query)
        assert (np.abs(found - exact) <= 1e-6 * lengths + 1e-12).all()

    check()


def test_the_bytes_of_a_query_add_up_to_it():
    rng = np.random.default_rng(1)
    queries = np.concatenate([unit(rng, 10_000, 128), unit(rng, 1_000, 128) * np.float32(1e-12), np.zeros((1, 128))])
    units = np.arange(0, 127 * 254 * 254, 16_003) + np.array([[-0.5], [0.5], [127 - 0.5], [127 + 0.5]])
    halfway = (units / units.max(initial=1)).astype(np.float32)  # just beside where the last digits are rounded
    for query in (*queries.astype(np.float32), *halfway, *-halfway):
        digits, weights = kernels._split_bytes(query)
        assert digits.dtype == np.int8
        assert digits.min() >= -127  # not -128: a digit of 128 would be stored as that
        wrong = np.abs(weights.astype(np.float64) @ digits - query)
        assert wrong.max() <= 1.5e-7 * np.abs(query).max()


@pytest.mark.skipif(kernels.numkong is None, reason="numkong is absent")
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300), st.sampled_from(["float16", "int8"]), st.integers(0, 2**32))
def test_a_dot_is_the_same_bit_by_bit_whoever_stands_beside_it(num, dim, dtype, seed):
    rng = np.random.default_rng(seed)
    codes, kernel = stored_as(unit(rng, num, dim), dtype), QueryKernel(unit(rng, dim), dtype)
    together = kernel.dots(codes)
    chosen = rng.permutation(num)[: rng.integers(1, num + 1)]
    np.testing.assert_array_equal(kernel.dots(codes[chosen]), together[chosen])
    np.testing.assert_array_equal(kernel.dots(codes[:1]), together[:1])


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 60000.0])
@pytest.mark.parametrize("at", [0, 17, 99])
def test_damage_shows_in_its_own_row_alone(poison, at):
    rng = np.random.default_rng(3)
    codes, query = unit(rng, 40, 100).astype(np.float16), unit(rng, 100)
    kernel = QueryKernel(query, "float16")
    before = kernel.dots(codes)
    codes[7, at] = poison
    with np.errstate(all="ignore"):
        after = kernel.dots(codes)
    others = np.arange(40) != 7
    np.testing.assert_array_equal(after[others], before[others])
    assert not abs(after[7]) <= 100 * 60000 * abs(query[at]) / 101


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_query_of_zeros_gives_zeros(dtype):
    codes = stored_as(unit(np.random.default_rng(0), 5, 16), dtype)
    assert QueryKernel(np.zeros(16, np.float32), dtype).dots(codes).tolist() == [0] * 5
